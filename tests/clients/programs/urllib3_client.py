"""Sends and reads with loki-urllib3-client, and prints what it got: `urllib3_client.py URL`."""

import json
import sys

from loki_urllib3_client import LokiClient

url, application = sys.argv[1:]
client = LokiClient(url=url)
own = "urllib3-client"
sent = client.post({"app": own}, ["one", "zwei ü", "three\nlines\nhere"])
ok, found = client.query_range(f'{{app="{own}"}}', direction=LokiClient.Direction.forward)
_, metric = client.query_range(f'count_over_time({{app="{application}"}}[1h])', params={"step": "10m"})
print(json.dumps({
    "ready": client.ready(),
    "sent": sent[0],
    "found": [ok, [line for stream in found["data"]["result"] for _, line in stream["values"]]],
    "matrix": metric["data"]["resultType"],
    "labels": client.labels(),
    "values": client.label_values("app"),
    "refused": client.query_range("{")[0],
}))
