"""Sends the corpus with python-logging-loki: `python_logging_loki.py CORPUS URL VERSION`."""

import json
import logging
import logging.handlers
import queue
import sys

import logging_loki

corpus, url, version = sys.argv[1:]
path = {"0": "/api/prom/push", "1": "/loki/api/v1/push"}[version]
options = {"url": url + path, "tags": {"application": f"python-logging-loki-{version}"}, "version": version}
if version == "0":
    handler = logging_loki.LokiHandler(**options)
else:
    handler = logging_loki.LokiQueueHandler(queue.Queue(-1), **options)
logger = logging.getLogger("shop.checkout")
logger.propagate = False
logger.setLevel(logging.DEBUG)
logger.addHandler(handler)
# An entry that is refused must be seen: the handler swallows it otherwise.
logging.raiseExceptions = True
for entry in json.load(open(corpus, encoding="utf-8")):
    level = logging.getLevelName(entry["level"].upper())
    logger.log(level, "%s", entry["message"], extra={"tags": {"part.of": entry["part"]}})
if version == "1":
    handler.listener.stop()
