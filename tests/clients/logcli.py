"""logcli, Loki's own command line: its commands on the fixed data."""

import json
import subprocess
import tempfile
import time

import grafana
from server import PATIENCE_S


def checks(fixed, binary):
    """Names of checks, and the checks."""
    at = [f"--addr={fixed.address.url}", "--org-id=default", "--quiet", "--timezone=UTC"]
    # Whole seconds around the lines, in the form that it wants.
    first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // grafana.SECOND)) for ns in fixed.span.values())
    span = [f"--from={first}", f"--to={last}"]

    def run(command, *arguments):
        command = [str(binary), *at, command, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
        return done.stdout

    def rows(*arguments):
        return [json.loads(row) for row in run("query", "--output=jsonl", *span, *arguments).splitlines()]

    def query():
        everything = "--limit=1000"
        found = rows(everything, "--forward", grafana.SELECTOR)
        assert [row["line"] for row in found] == fixed.lines, found
        assert found[0]["labels"]["trace_id"] == "t0", found[0]
        assert [row["line"] for row in rows(everything, grafana.SELECTOR)] == fixed.lines[::-1]
        assert [row["line"] for row in rows("--limit=4", grafana.SELECTOR)] == fixed.lines[:-5:-1]
        # In several requests, each from the time on where the last one ended.
        assert [row["line"] for row in rows("--limit=50", "--batch=7", "--forward", grafana.SELECTOR)] == fixed.lines[:50]
        raw = run("query", "--output=raw", everything, "--forward", *span, grafana.SELECTOR)
        assert raw == "".join(line + "\n" for line in fixed.lines), raw
        text = run("query", "--limit=1", "--include-common-labels", *span, grafana.SELECTOR + ' | logfmt | msg="not found 1"')
        assert "not found 1" in text and 'msg="not found 1"' in text and 'trace_id="t1"' in text, text
        assert "Summary.TotalLinesProcessed" in _stderr("query", "--stats", *span, grafana.SELECTOR)

    def _stderr(command, *arguments):
        done = subprocess.run([str(binary), *at, command, *arguments], capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def parallel():
        # Slices of the span in several requests at a time; their parts are put together again.
        with tempfile.TemporaryDirectory(prefix="timberlog-clients-") as folder:
            parts = ["--merge-parts", f"--part-path-prefix={folder}/part"]
            slices = ["--parallel-duration=15s", "--parallel-max-workers=3", "--limit=0", "--forward", *parts]
            assert [row["line"] for row in rows(*slices, grafana.SELECTOR)] == fixed.lines

    def metrics():
        expression = f"sum by (level) (count_over_time({grafana.SELECTOR}[1m]))"
        result = json.loads(run("query", "--step=1m", *span, expression))
        counts = {series["metric"]["level"]: sum(int(value) for _, value in series["values"]) for series in result}
        assert counts == {level: fixed.levels.count(level) for level in set(fixed.levels)}, result
        result = json.loads(run("instant-query", f"--now={last}", f"sum(count_over_time({grafana.SELECTOR}[5m]))"))
        assert result[0]["value"][1] == str(grafana.COUNT), result
        result = json.loads(run("instant-query", "vector(1)+vector(1)"))
        assert result[0]["value"][1] == "2", result

    def labels():
        assert {"app", "level", "service_name"} <= set(run("labels").split())
        assert {"info", "warn", "error"} <= set(run("labels", *span, "level").split())
        series = run("series", grafana.SELECTOR).splitlines()
        assert len(series) == 3 and all(f'app="{grafana.APP}"' in row for row in series), series
        assert "Unique Labels:" in run("series", "--analyze-labels", "{}")

    def volumes():
        assert "streams: 3" in run("stats", *span, grafana.SELECTOR)
        for command, *more in (("volume",), ("volume_range", "--step=1m")):
            result = json.loads(run(command, *more, *span, "--targetLabels=level", grafana.SELECTOR))
            assert sorted(series["metric"]["level"] for series in result) == ["error", "info", "warn"], result
        fields = run("detected-fields", *span, grafana.SELECTOR)
        assert "label: trace_id" in fields and "label: took" in fields, fields
        assert "GET" in run("detected-fields", *span, grafana.SELECTOR, "method")

    def formatting():
        laid_out = subprocess.run([str(binary), *at, "fmt"], input=f'{grafana.SELECTOR}|="x"', text=True, capture_output=True)
        assert laid_out.stdout.strip() == f'{grafana.SELECTOR} |= "x"', laid_out

    def tail():
        app = f"logcli-tail-{time.time_ns()}"
        command = [str(binary), *at, "query", "--tail", "--output=jsonl", f'{{app="{app}"}}']
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            # Lines from before it follows are shown as well, so nothing has to be waited for.
            lines = [f"line {number}" for number in range(5)]
            for line in lines:
                fixed.address.push([{"stream": {"app": app}, "values": [[str(time.time_ns()), line]]}])
            assert [json.loads(process.stdout.readline())["line"] for _ in lines] == lines
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)

    def errors():
        done = subprocess.run([str(binary), *at, "query", '{app="'], capture_output=True, text=True)
        assert done.returncode != 0 and "parse error at line 1, col" in done.stderr, done.stderr

    names = (query, parallel, metrics, labels, volumes, formatting, tail, errors)
    return [("logcli: " + check.__name__, check) for check in names]
