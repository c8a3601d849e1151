"""Clients that read: what each must get of the fixed data."""

import json
import subprocess

import grafana


def _answer(machine, program, *arguments):
    command = [machine.interpreter(program), machine.program(program), *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def checks(fixed, machine):
    """Names of checks, and the checks."""
    url = fixed.address.url

    def reader_core():
        got = _answer(machine, "reader_core.py", url, grafana.APP)
        severe = [line for line, level in zip(fixed.lines, fixed.levels) if level in ("warn", "error")]
        assert got["by_app"] == severe[::-1], got["by_app"]
        assert got["by_query"] == sorted(line for line in fixed.lines if "3" in line), got["by_query"]
        assert got["lines_processed"] > 0, got
        assert got["metric"] == {level: fixed.levels.count(level) for level in set(fixed.levels)}, got["metric"]
        assert got["rate"] == ["matrix", 1], got["rate"]
        assert {"app", "level", "service_name"} <= set(got["labels"]), got["labels"]
        assert set(fixed.levels) <= set(got["values"]), got["values"]
        expected = [{"app": grafana.APP, "level": level, "service_name": grafana.APP} for level in set(fixed.levels)]
        found = sorted(got["series"], key=lambda labels: labels["level"])
        assert found == sorted(expected, key=lambda labels: labels["level"]), found
        assert "400" in got["refused"] and "parse error" in got["refused"], got["refused"]

    def urllib3_client():
        got = _answer(machine, "urllib3_client.py", url, grafana.APP)
        assert got["ready"] and got["sent"] and not got["refused"], got
        ok, lines = got["found"]
        assert ok and lines == ["one", "zwei ü", "three\nlines\nhere"], got["found"]
        assert got["matrix"] == "matrix", got
        assert got["labels"][0] and "app" in got["labels"][1]["data"], got["labels"]
        assert got["values"][0] and grafana.APP in got["values"][1]["data"], got["values"]

    def myunisoft():
        got = _answer(machine, "myunisoft.mjs", url, grafana.APP)
        assert got["own"] == [{"verb": "PUT", "path": "/ü"}, {"verb": "GET", "path": "/a"}], got["own"]
        assert got["lines"] == len(fixed.lines) and got["series"] == len(fixed.levels), got
        assert "app" in got["labels"] and "warn" in got["values"], got
        assert len(got["matched"]) == len(set(fixed.levels)), got["matched"]

    return [
        ("loki-reader-core reads", reader_core),
        ("loki-urllib3-client sends and reads", urllib3_client),
        ("@myunisoft/loki sends and reads", myunisoft),
    ]
