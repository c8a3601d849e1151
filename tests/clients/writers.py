"""Clients that write: what each is told to send, and what must be read back of it."""

import json
import pathlib
import subprocess

import syslog_ng
from corpus import LEVELS

# The spelling of a level that Loki derives from what was sent.
DETECTED = {"warning": "warn"}
PINO = dict(zip(LEVELS, ("debug", "info", "warning", "error", "critical")))
WINSTON = dict(zip(LEVELS, ("debug", "info", "warn", "error", "error")))


def detected(level):
    return DETECTED.get(level, level)


class Writer:
    """A client and one way to use it."""

    def __init__(self, name, program, argument=None, tenant="default", package=None):
        self.name, self.program, self.argument, self.tenant = name, program, argument, tenant
        self.package = package or name

    def send(self, machine, url):
        """Runs the client to its end: it has sent everything when it has ended."""
        command = [machine.interpreter(self.program), machine.program(self.program), machine.corpus, url]
        command += [self.argument] if self.argument else []
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and not done.stderr, f"exit code {done.returncode}: {done.stderr[-2000:]}"

    def labels(self, entry):
        return {"application": self.name, "service_name": self.name}

    def metadata(self, entry):
        return {"detected_level": detected(entry["level"])}

    def line(self, entry):
        """What the line comes to."""
        return entry["message"]

    def read_line(self, line):
        """What is compared of a line: all of it, but for times and processes."""
        return line

    def check(self, address, entries):
        """Everything is there, once, in its order, under its labels, with its metadata."""
        expected = {}
        for entry in entries:
            key = json.dumps(self.labels(entry), sort_keys=True)
            expected.setdefault(key, []).append((self.line(entry), self.metadata(entry)))
        found = {}
        for labels, values in address.entries(f'{{application="{self.name}"}}', tenant=self.tenant):
            labels.pop("hostname", None)
            key = json.dumps(labels, sort_keys=True)
            assert key not in found, f"two streams with the labels {key}"
            times = [ns for ns, _, _ in values]
            assert times == sorted(times), "times do not rise"
            found[key] = [(self.read_line(line), metadata) for _, line, metadata in values]
        total = sum(map(len, found.values()))
        assert total == len(entries), f"{total} of {len(entries)} entries"
        assert sorted(found) == sorted(expected), f"streams {sorted(found)}, expected {sorted(expected)}"
        for key, values in expected.items():
            if not address.keeps_order:
                values.sort(key=str)
                found[key].sort(key=str)
            for number, (one, other) in enumerate(zip(found[key], values)):
                assert one == other, f"{key}, entry {number}: {one!r}, expected {other!r}"
            assert len(found[key]) == len(values), f"{key}: {len(found[key])} entries, expected {len(values)}"

    def count(self, address):
        query = f'sum(count_over_time({{application="{self.name}"}}[1h]))'
        result = address.ask("/loki/api/v1/query", query=query, tenant=self.tenant)["data"]["result"]
        return int(result[0]["value"][1]) if result else 0


class PythonLoggingLoki(Writer):
    def labels(self, entry):
        more = {"severity": entry["level"], "logger": "shop.checkout", "part_of": entry["part"]}
        return {**super().labels(entry), **more}


class LokiLoggerHandler(Writer):
    def labels(self, entry):
        more = {"environment": "test", "level": entry["level"].upper(), "part": entry["part"]}
        return {**super().labels(entry), **more}

    def metadata(self, entry):
        more = {"region": "eu", "number": str(entry["number"]), "trace": entry["trace"]}
        return {**super().metadata(entry), **more}

    def line(self, entry):
        return {"message": entry["message"], "level": entry["level"].upper(), "part": entry["part"]}

    def read_line(self, line):
        sent = json.loads(line)
        assert sent["name"] == "shop.stock" and sent["module"] == "loki_logger_handler", line
        return {name: sent[name] for name in ("message", "level", "part")}


class Pino(Writer):
    def labels(self, entry):
        return {**super().labels(entry), "level": PINO[entry["level"]], "part": entry["part"]}

    def metadata(self, entry):
        nested = json.dumps({"part": entry["part"]}, separators=(",", ":"))
        return {**super().metadata(entry), "number": str(entry["number"]), "trace": entry["trace"], "nested": nested}


class PinoJson(Pino):
    def line(self, entry):
        meta = {"trace": entry["trace"], "number": entry["number"], "nested": {"part": entry["part"]}}
        level = (LEVELS.index(entry["level"]) + 2) * 10
        return {"level": level, "part": entry["part"], "meta": meta, "msg": entry["message"]}

    def read_line(self, line):
        sent = json.loads(line)
        assert sent.pop("time") and sent.pop("pid"), line
        return sent


class Winston(Writer):
    def labels(self, entry):
        return {**super().labels(entry), "level": WINSTON[entry["level"]], "part": entry["part"]}

    def metadata(self, entry):
        return {"detected_level": detected(WINSTON[entry["level"]])}


class WinstonJson(Winston):
    def metadata(self, entry):
        # It sends the level as a label and as metadata: of the two, LogQL renames the second.
        more = {"level_extracted": WINSTON[entry["level"]], "number": str(entry["number"]), "trace": entry["trace"]}
        return {**super().metadata(entry), **more}


class SyslogNg(Writer):
    def __init__(self):
        super().__init__("syslog-ng", None)

    def send(self, machine, url):
        syslog_ng.send(pathlib.Path(machine.folder), url, json.loads(machine.corpus.read_text()))

    def labels(self, entry):
        more = {"level": syslog_ng.SEVERITIES[entry["level"]][1], "program": "shop", "host": "till-7"}
        return {**super().labels(entry), **more}

    def metadata(self, entry):
        return {"detected_level": {"err": "error", "warning": "warn", "crit": "crit"}.get(
            syslog_ng.SEVERITIES[entry["level"]][1], entry["level"]), "trace": entry["trace"]}


WRITERS = [
    PythonLoggingLoki("python-logging-loki-1", "python_logging_loki.py", "1", package="python-logging-loki"),
    PythonLoggingLoki("python-logging-loki-0", "python_logging_loki.py", "0", package="python-logging-loki"),
    LokiLoggerHandler("loki-logger-handler", "loki_logger_handler.py"),
    PinoJson("pino-json", "pino.mjs", "json", "pino", package="pino-loki"),
    Pino("pino-text", "pino.mjs", "text", "pino", package="pino-loki"),
    WinstonJson("winston-json", "winston.cjs", "json", "winston", package="winston-loki"),
    Winston("winston-protobuf", "winston.cjs", "protobuf", "winston", package="winston-loki"),
]
