"""The requests of Grafana's Loki data source and of its Logs Drilldown, in the forms in which they
make them, and the shapes of answers that they rely on."""

import json
import time

from server import Refused, until
from websocket import Tail

API = "/loki/api/v1"
APP = "grafana-stand-in"
SELECTOR = f'{{app="{APP}"}}'
COUNT = 60
SECOND = 1_000_000_000
# How Grafana asks for metadata beside lines, and how it marks why it asks.
CATEGORIZE = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
HISTOGRAM = {"X-Query-Tags": "Source=logvolhist"}
# Half the span that Grafana searches for lines around a line.
CONTEXT = 2 * 3600 * SECOND
SUMMARY = ("bytesProcessedPerSecond", "linesProcessedPerSecond", "totalBytesProcessed", "totalLinesProcessed", "execTime")


class Fixed:
    """A few lines of three levels, one a second, of which everything is known."""

    def __init__(self, address):
        self.address = address
        # Windows of whole minutes then tile the lines.
        self.end = time.time_ns() // (60 * SECOND) * 60 * SECOND
        self.start = self.end - COUNT * SECOND
        self.levels = [("info", "warn", "error")[number % 3] for number in range(COUNT)]
        self.lines = [self._line(number, level) for number, level in enumerate(self.levels)]
        self.times = [self.start + number * SECOND + number for number in range(COUNT)]
        values = {}
        for number, (ns, line, level) in enumerate(zip(self.times, self.lines, self.levels)):
            values.setdefault(level, []).append([str(ns), line, {"trace_id": f"t{number}"}])
        address.push([{"stream": {"app": APP, "level": level}, "values": rows} for level, rows in values.items()])

    @staticmethod
    def _line(number, level):
        if level == "info":
            return json.dumps({"method": "GET", "status": 200 + number % 2, "took": f"{number}ms", "user": {"id": number}})
        if level == "warn":
            return f'method=PUT status=404 took={number}ms msg="not found {number}"'
        return f"{number} failed:\n\tat größe.rs:{number}"

    def ask(self, path, *parameters, **more):
        return self.address.ask(API + path, *parameters, **more)

    @property
    def span(self):
        return {"start": self.start - 60 * SECOND, "end": self.end + 60 * SECOND}


def _data(answer, kind=None):
    assert answer["status"] == "success", answer
    data = answer["data"]
    if kind:
        assert data["resultType"] == kind, data["resultType"]
        summary = data["stats"]["summary"]
        assert all(isinstance(summary[name], (int, float)) for name in SUMMARY), summary
        return data["result"]
    return data


def _lines(result):
    """Lines of streams in the order of their times."""
    return [line for _, line in sorted((int(value[0]), value[1]) for stream in result for value in stream["values"])]


def checks(fixed):
    """Names of checks, and the checks."""

    def save_and_test():
        # The data source is "connected" if one and one are two.
        query = {"query": "vector(1)+vector(1)", "direction": "backward", "time": time.time_ns()}
        (sample,) = _data(fixed.ask("/query", **query), "vector")
        assert sample["metric"] == {} and sample["value"][1] == "2", sample
        assert isinstance(sample["value"][0], (int, float)), sample
        info = fixed.ask("/status/buildinfo")
        assert int(info["version"].split(".")[0]) >= 3, info
        assert {"version", "revision", "branch", "buildDate", "buildUser", "goVersion"} <= set(info), info

    def completion():
        names = _data(fixed.ask("/labels", **fixed.span))
        assert {"app", "level", "service_name"} <= set(names) and names == sorted(names), names
        assert _data(fixed.ask("/labels", query=SELECTOR, **fixed.span)) == ["app", "level", "service_name"]
        values = _data(fixed.ask("/label/level/values", query=SELECTOR, **fixed.span))
        assert values == ["error", "info", "warn"], values
        assert _data(fixed.ask("/label/app/values", query='{level="warn"}', **fixed.span)).count(APP) == 1
        found = _data(fixed.ask("/series", ("match[]", SELECTOR), **fixed.span))
        assert sorted(stream["level"] for stream in found) == ["error", "info", "warn"], found
        assert all(stream["app"] == APP for stream in found), found
        later = {"start": fixed.end + 3600 * SECOND, "end": fixed.end + 3601 * SECOND}
        assert not _data(fixed.ask("/series", ("match[]", SELECTOR), **later))

    def volume_histogram():
        for step, text in ((10, "10s"), (60, "1m0s"), (2, "2s")):
            query = f"sum by (level, detected_level) (count_over_time({SELECTOR} | drop __error__[{text}]))"
            span = {"start": fixed.start, "end": fixed.end}
            answer = fixed.ask("/query_range", query=query, direction="backward", step=text, headers=HISTOGRAM, **span)
            result = _data(answer, "matrix")
            labels = sorted((series["metric"]["level"], series["metric"]["detected_level"]) for series in result)
            assert labels == [(level, level) for level in ("error", "info", "warn")], labels
            for series in result:
                assert set(series["metric"]) == {"level", "detected_level"}, series["metric"]
                points = series["values"]
                times = [at for at, _ in points]
                assert times == sorted(times) and all(at % step == 0 for at in times), times
                assert all(isinstance(value, str) for _, value in points), points
            # Windows are open at their start: the first one, which ends at `start`, has the first line.
            assert sum(int(value) for series in result for _, value in series["values"]) == COUNT, (step, result)

    def log_lines():
        for direction in ("backward", "forward"):
            query = {"query": SELECTOR, "direction": direction, "limit": 1000, "step": "500ms", **fixed.span}
            answer = fixed.ask("/query_range", headers=CATEGORIZE, **query)
            result = _data(answer, "streams")
            assert answer["data"]["encodingFlags"] == ["categorize-labels"], answer["data"].get("encodingFlags")
            assert _lines(result) == fixed.lines
            assert len(result) == 3, [stream["stream"] for stream in result]
            for stream in result:
                level = stream["stream"]["level"]
                assert stream["stream"] == {"app": APP, "level": level, "service_name": APP}, stream["stream"]
                times = [int(ns) for ns, _, _ in stream["values"]]
                assert times == sorted(times, reverse=direction == "backward"), times
                for ns, _, more in stream["values"]:
                    trace = f"t{fixed.times.index(int(ns))}"
                    assert more == {"structuredMetadata": {"detected_level": level, "trace_id": trace}}, more
        # The newest, or the oldest.
        limited = {"query": SELECTOR, "limit": 7, "step": "1h0m0s", **fixed.span}
        assert _lines(_data(fixed.ask("/query_range", direction="backward", **limited))["result"]) == fixed.lines[-7:]
        assert _lines(_data(fixed.ask("/query_range", direction="FORWARD", **limited))["result"]) == fixed.lines[:7]
        # Without the flag, all labels are one set.
        plain = _data(fixed.ask("/query_range", query=SELECTOR + " | trace_id=`t5`", **fixed.span), "streams")
        labels = {"app": APP, "level": "error", "service_name": APP, "detected_level": "error", "trace_id": "t5"}
        assert plain == [{"stream": labels, "values": [[str(fixed.times[5]), fixed.lines[5]]]}], plain

    def parsed_lines():
        query = {"query": SELECTOR + " | json | __error__=``", "direction": "backward", "limit": 1000, "step": "1s"}
        result = _data(fixed.ask("/query_range", headers=CATEGORIZE, **query, **fixed.span), "streams")
        assert _lines(result) == [line for line, level in zip(fixed.lines, fixed.levels) if level == "info"]
        for stream in result:
            assert set(stream["stream"]) == {"app", "level", "service_name"}, stream["stream"]
            for _, line, more in stream["values"]:
                sent = json.loads(line)
                expected = {"method": "GET", "status": str(sent["status"]), "took": sent["took"]}
                assert more["parsed"] == {**expected, "user_id": str(sent["user"]["id"])}, more
        # What could not be parsed is shown, with the reason.
        query["query"] = SELECTOR + " | json | level=`error`"
        for stream in _data(fixed.ask("/query_range", headers=CATEGORIZE, **query, **fixed.span), "streams"):
            assert all(more["parsed"]["__error__"] == "JSONParserErr" for _, _, more in stream["values"]), stream

    def log_context():
        at = fixed.times[30]
        asked = {"query": SELECTOR + "\n", "limit": 5, "step": "1m0s"}
        before = fixed.ask("/query_range", direction="backward", start=at - CONTEXT, end=at, **asked)
        assert _lines(before["data"]["result"]) == fixed.lines[25:30]
        after = fixed.ask("/query_range", direction="forward", start=at, end=at + CONTEXT, **asked)
        # The line itself is among those after it; Grafana leaves it out.
        assert _lines(after["data"]["result"]) == fixed.lines[30:35]

    def live_tail():
        app = f"{APP}-tail-{time.time_ns()}"
        with Tail(fixed.address.url, API + "/tail", query=f'{{app="{app}"}}') as tail, Tail(
            fixed.address.url, API + "/tail", headers=CATEGORIZE, query=f'{{app="{app}"}} |= "2"', delay_for="0", limit="10"
        ) as filtered:
            sent = time.time_ns()
            values = [[str(sent + number), f"line {number}", {"trace_id": str(number)}] for number in range(4)]
            fixed.address.push([{"stream": {"app": app}, "values": values}])
            seen = []
            while len(seen) < 4:
                message = tail.message()
                assert not message.get("dropped_entries"), message
                for stream in message["streams"]:
                    assert stream["stream"]["app"] == app, stream
                    seen += [(ns, line) for ns, line in stream["values"]]
            assert sorted(seen) == [(ns, line) for ns, line, _ in values], seen
            (stream,) = filtered.message()["streams"]
            assert [value[:2] for value in stream["values"]] == [values[2][:2]], stream

    def stats_and_volumes():
        stats = fixed.ask("/index/stats", query=SELECTOR, **fixed.span)
        assert set(stats) >= {"streams", "chunks", "bytes", "entries"}, stats
        assert stats["streams"] == 3 and stats["bytes"] > 0, stats
        volume = _data(fixed.ask("/index/volume", query=SELECTOR, limit=5000, targetLabels="level", **fixed.span))
        assert sorted(sample["metric"]["level"] for sample in volume["result"]) == ["error", "info", "warn"], volume
        assert volume["resultType"] == "vector" and all(int(s["value"][1]) > 0 for s in volume["result"]), volume
        asked = {"query": SELECTOR, "limit": 5000, "targetLabels": "app", "aggregateBy": "series", "step": "1m0s"}
        volume = _data(fixed.ask("/index/volume_range", **asked, **fixed.span))
        assert volume["resultType"] == "matrix" and volume["result"][0]["metric"] == {"app": APP}, volume

    def formatting():
        query = '{app="a"}|="x"|json|status>=500|line_format"{{.method}} {{.path}} took {{.duration}} and gave {{.status}}"'
        laid_out = _data(fixed.ask("/format_query", query=query))
        assert "\n" in laid_out and _data(fixed.ask("/format_query", query=laid_out)) == laid_out, laid_out
        assert _data(fixed.ask("/format_query", query=query, method="POST")) == laid_out

    def drilldown():
        labels = fixed.ask("/detected_labels", query=SELECTOR, **fixed.span)["detectedLabels"]
        assert {"label": "level", "cardinality": 3} in labels, labels
        fields = fixed.ask("/detected_fields", query=SELECTOR, line_limit=1000, limit=1000, **fixed.span)["fields"]
        fields = {field["label"]: field for field in fields}
        assert {"trace_id", "method", "status", "took", "msg", "user_id"} <= set(fields), sorted(fields)
        assert fields["took"]["type"] == "duration" and fields["status"]["type"] == "int", fields
        assert sorted(fields["status"]["parsers"]) == ["json", "logfmt"] and fields["msg"]["parsers"] == ["logfmt"]
        assert not fields["trace_id"].get("parsers"), fields["trace_id"]
        found = fixed.ask("/detected_field/method/values", query=SELECTOR, limit=1000, **fixed.span)
        assert sorted(found["values"]) == ["GET", "PUT"], found
        assert isinstance(_data(fixed.ask("/patterns", query=SELECTOR, step="10s", **fixed.span)), list)
        limits = fixed.ask("/drilldown-limits")
        assert limits["limits"]["volume_enabled"] and "pattern_ingester_enabled" in limits, limits
        pipeline = SELECTOR + ' | json | logfmt | drop __error__, __error_details__ | status!=""'
        query = f"sum by (status) (count_over_time({pipeline} [1m]))"
        result = _data(fixed.ask("/query_range", query=query, step="1m0s", **fixed.span), "matrix")
        counts = {s["metric"]["status"]: sum(int(value) for _, value in s["values"]) for s in result}
        assert counts == {"200": 10, "201": 10, "404": 20}, counts

    def alert_rule():
        query = f"sum by (level) (rate({SELECTOR} [5m]))"
        result = _data(fixed.ask("/query", query=query, direction="backward", time=fixed.end), "vector")
        assert {s["metric"]["level"]: s["value"][1] for s in result} == dict.fromkeys(("info", "warn", "error"), str(20 / 300))

    def errors():
        for query, expected in (('{app="a', "parse error"), ("{}", "parse error"), ("sum(", "parse error")):
            try:
                fixed.ask("/query_range", query=query, step="1m0s", **fixed.span)
                raise AssertionError(f"`{query}` was taken")
            except Refused as refused:
                assert refused.status == 400 and expected in refused.text, refused

    def forms():
        query = {"query": SELECTOR, "limit": 1000, **fixed.span}
        assert _lines(_data(fixed.ask("/query_range", method="POST", **query), "streams")) == fixed.lines
        assert "app" in _data(fixed.ask("/labels", method="POST", **fixed.span))
        assert len(_data(fixed.ask("/series", ("match[]", SELECTOR), method="POST", **fixed.span))) == 3

    until("the fixed lines are there", lambda: len(_lines(fixed.ask("/query_range", query=SELECTOR, limit=1000, **fixed.span)["data"]["result"])) == COUNT)
    names = (save_and_test, completion, volume_histogram, log_lines, parsed_lines, log_context, live_tail,
             stats_and_volumes, formatting, drilldown, alert_rule, errors, forms)
    return [("Grafana: " + check.__name__.replace("_", " "), check) for check in names]
