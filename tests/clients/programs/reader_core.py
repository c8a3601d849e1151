"""Reads with loki-reader-core, and prints what it got: `reader_core.py URL APPLICATION`."""

import json
import sys

from loki_reader_core import LokiClient
from loki_reader_core.exceptions import LokiQueryError

url, application = sys.argv[1:]
selector = f'{{app="{application}"}}'
with LokiClient(base_url=url, org_id="default") as client:
    by_app = client.query(app=application, severity="warn", since_hours=1, limit=1000)
    by_query = client.query(logql=selector + ' |= "3"', since_minutes=30, limit=1000)
    metric = client.query(logql=f"sum by (level) (count_over_time({selector}[1h]))")
    rate = client.query(logql=f"sum(rate({selector}[1m]))", since_hours=1)
    try:
        client.query(logql='{app="', since_hours=1)
        refused = ""
    except LokiQueryError as error:
        refused = str(error)
    print(json.dumps({
        "by_app": [entry.message for stream in by_app.streams for entry in stream.entries],
        "by_query": sorted(entry.message for stream in by_query.streams for entry in stream.entries),
        "lines_processed": by_query.stats.lines_processed,
        "metric": {series.labels["level"]: series.samples[0].value for series in metric.metric_series},
        "rate": [rate.result_type, len(rate.metric_series)],
        "labels": client.get_labels(),
        "values": client.get_label_values("level"),
        "series": client.get_series([selector]),
        "refused": refused,
    }))
