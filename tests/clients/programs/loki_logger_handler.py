"""Sends the corpus with loki-logger-handler: `loki_logger_handler.py CORPUS URL`."""

import json
import logging
import sys
import time

# Not this file, which has the name of the package.
sys.path.pop(0)
from loki_logger_handler.loki_logger_handler import LokiLoggerHandler  # noqa: E402

corpus, url = sys.argv[1:]
handler = LokiLoggerHandler(
    url=url + "/loki/api/v1/push",
    labels={"application": "loki-logger-handler", "environment": "test"},
    label_keys=["level", "part"],
    timeout=0.2,
    compressed=True,
    enable_self_errors=True,
    enable_structured_loki_metadata=True,
    loki_metadata={"region": "eu"},
    loki_metadata_keys=["trace"],
)
logger = logging.getLogger("shop.stock")
logger.setLevel(logging.DEBUG)
logger.propagate = False
logger.addHandler(handler)
for entry in json.load(open(corpus, encoding="utf-8")):
    level = logging.getLevelName(entry["level"].upper())
    extra = {"part": entry["part"], "trace": entry["trace"], "loki_metadata": {"number": entry["number"]}}
    logger.log(level, "%s", entry["message"], extra=extra)
    if entry["number"] % 250 == 249:
        # Several batches.
        time.sleep(0.3)
assert not handler.error, "the handler saw an error"
