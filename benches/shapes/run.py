#!/usr/bin/env python3
"""Logs of very different shapes, made up from a seed: what it takes to store and to search them, and
the same with VictoriaLogs, if it is given, in turn. Every count is compared with that of the records.

    benches/shapes/run.py --timberlog target/release/timberlog --victorialogs victoria-logs
"""

import argparse
import base64
import http.client
import json
import os
import pathlib
import queue
import random
import shutil
import signal
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

START_NS = 1_767_225_600_000_000_000
BODY_BYTES = 500_000
CONNECTIONS = 4
ROUNDS = 7


class Shapes:
    """One function a shape: makes record number n."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        letters = string.ascii_lowercase
        self.words = ["".join(self.random.choices(letters, k=self.random.randrange(3, 11))) for _ in range(20_000)]

    def uuid(self):
        digits = f"{self.random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def wide(self, _):
        """60 fields: integers, floats, words, hashes, booleans, addresses."""
        pick = self.random
        makers = (
            lambda: pick.randrange(1000),
            lambda: round(pick.random() * 1000, 3),
            lambda: pick.choice(("a", "bb", "ccc", "dddd")),
            lambda: f"{pick.getrandbits(128):032x}",
            lambda: pick.random() < 0.5,
            lambda: f"10.{pick.randrange(4)}.{pick.randrange(256)}.{pick.randrange(256)}",
        )
        message = f"GET /api/v2/items/{pick.randrange(100_000)} {pick.choice((200, 200, 200, 404, 500))}"
        fields = {f"f{k:02}": makers[k % 6 if k < 12 or k % 6 != 3 else 5]() for k in range(60)}
        return {"service": "gateway", "level": pick.choice(("info", "warn", "error")), "message": message} | fields

    def sparse(self, _):
        """12 fields of 400."""
        pick = self.random
        message = f"event {pick.choice(self.words[:200])} happened"
        names = pick.sample(range(400), 12)
        fields = {f"attr_{k:03}": pick.choice(self.words[:3000]) if k % 2 else pick.randrange(10**6) for k in names}
        return {"service": f"app-{pick.randrange(40)}", "level": "info", "message": message} | fields

    def traces(self, _):
        """Stack traces of 1 to 12 KB, in many lines."""
        pick = self.random
        words = self.words
        lines = [f"java.lang.IllegalStateException: id={pick.getrandbits(48):x}"]
        for _ in range(pick.randrange(20, 200)):
            package, name, method, file = (pick.choice(words[:count]) for count in (300, 300, 600, 300))
            lines.append(f"\tat com.{package}.{name}.{method}({file}.java:{pick.randrange(2000)})")
        return {"service": "java", "level": "error", "message": "\n".join(lines)}

    def tiny(self, _):
        """A word or two, of 3,000 services."""
        pick = self.random
        message = pick.choice(("ok", "done", "tick", f"err {pick.randrange(10)}"))
        return {"service": f"s{pick.randrange(3000)}", "message": message}

    def text(self, _):
        """Sentences of random words: hardly anything repeats."""
        pick = self.random
        message = " ".join(pick.choices(self.words, k=pick.randrange(8, 60)))
        return {"service": f"blog-{pick.randrange(8)}", "level": pick.choice(("info", "error")), "message": message}

    def blobs(self, _):
        """Base64 that nothing compresses, and a UUID."""
        pick = self.random
        payload = base64.b64encode(pick.randbytes(pick.randrange(50, 600))).decode()
        return {"service": "b", "level": "debug", "message": f"payload={payload} id={self.uuid()}"}

    def ids(self, _):
        """One message, and five fields that hardly repeat."""
        pick = self.random
        fields = {"a": self.uuid(), "b": f"{pick.getrandbits(128):032x}", "c": pick.randrange(1 << 62)}
        return {"service": "svc", "level": "info", "message": "handled", "d": pick.random()} | fields


RECORDS = {"wide": 120_000, "sparse": 400_000, "traces": 20_000, "tiny": 1_500_000, "text": 400_000, "blobs": 250_000, "ids": 600_000}


def make(name, seed, share):
    """The bodies to send, and the records one by one."""
    shapes, clock, records, bodies, body = Shapes(seed), START_NS, [], [], []
    length = 0
    for n in range(max(1, int(RECORDS[name] * share))):
        clock += shapes.random.randrange(1, 2_000_000)
        record = getattr(shapes, name)(n) | {"timestamp": clock}
        records.append(record)
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        body.append(line)
        length += len(line)
        if length >= BODY_BYTES:
            bodies.append(b"".join(body))
            body, length = [], 0
    return bodies + [b"".join(body)] * bool(body), records


class Server:
    """A server process on a folder of its own."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.port = free_port()
        log = open(f"{folder}.err", "ab")
        self.process = subprocess.Popen([binary, *self.flags()], stdout=log, stderr=log)
        log.close()
        until(lambda: self.ask("GET", self.READY)[0] == 200, self.process)

    def ask(self, method, path, body=None, kind="application/json"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body, {"Content-Type": kind} if body is not None else {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def send(self, bodies):
        """Sends all bodies, each until it is acknowledged; the seconds it took."""
        waiting, errors = queue.SimpleQueue(), []
        for body in bodies:
            waiting.put(body)

        def work():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            while not errors:
                try:
                    body = waiting.get_nowait()
                except queue.Empty:
                    return
                status = 429
                while status == 429:
                    connection.request("POST", self.INGEST, body, {"Content-Type": "application/x-ndjson"})
                    answer = connection.getresponse()
                    status, content = answer.status, answer.read()
                if status >= 300:
                    errors.append((status, content[:200]))

        started = time.monotonic()
        threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            sys.exit(f"{self.binary}: {errors[0]}")
        return time.monotonic() - started

    def stop(self):
        """Ends it as a service manager does; the seconds of CPU that it took."""
        self.process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime

    def bytes(self):
        files = (file for file in pathlib.Path(self.folder).rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in files if self.is_data(file))


class TimberLog(Server):
    READY, INGEST = "/ready", "/ingest"

    def flags(self):
        addresses = ["--http-addr", f"127.0.0.1:{self.port}", "--grpc-addr", "127.0.0.1:0"]
        return ["serve", "--log", "warn", "--data-dir", self.folder, "--max-future", "10000d", *addresses]

    def is_data(self, file):
        return file.suffix in (".log", ".redb")

    def query(self, question):
        status, content = self.ask("POST", "/api/v1/query", json.dumps(question.native))
        if status != 200:
            sys.exit(f"{question.name}: {content[:300]}")
        data = json.loads(content)["data"]
        return sum(group["count"] for group in data) if "aggregate" in question.native else len(data)


class VictoriaLogs(Server):
    READY = "/health"
    INGEST = "/insert/jsonline?_stream_fields=service&_time_field=timestamp&_msg_field=message"

    def flags(self):
        ages = ["-retentionPeriod=100y", "-futureRetention=100y"]
        return [f"-storageDataPath={self.folder}", f"-httpListenAddr=127.0.0.1:{self.port}", *ages]

    def is_data(self, file):
        return True

    def query(self, question):
        form = urllib.parse.urlencode({"query": "_time:[2025-01-01Z,2030-01-01Z] " + question.logsql})
        status, content = self.ask("POST", "/select/logsql/query", form, "application/x-www-form-urlencoded")
        if status != 200:
            sys.exit(f"{question.name}: {content[:300]}")
        rows = [json.loads(line) for line in content.splitlines() if line]
        return sum(int(row["n"]) for row in rows) if "stats" in question.logsql else len(rows)


class Question:
    """A query in both languages, and how many records it must find."""

    def __init__(self, name, native, logsql, expected):
        self.name, self.native, self.logsql, self.expected = name, native, logsql, expected


def questions(records):
    count, every = "| stats count() n", len(records)
    middle = records[every // 2]
    word = max((word for word in middle["message"].replace("=", " ").split() if word.isalnum()), key=len)
    holds = sum(word in record["message"] for record in records)
    yield Question("last 100", {"limit": 100}, "* | sort by (_time desc) limit 100", min(100, every))
    yield Question("count by service", {"aggregate": {"by": ["service"]}}, "* | stats by (service) count() n", every)
    yield Question("count by minute", {"aggregate": {"step": "1m"}}, "* | stats by (_time:1m) count() n", every)
    contains = {"filter": {"field": "message", "contains": word}, "aggregate": {}}
    yield Question(f"substring `{word[:16]}`", contains, f'~"{word}" {count}', holds)
    fields = sorted(name for name in middle if name not in ("service", "level", "message", "timestamp"))
    texts = [name for name in fields if isinstance(middle[name], str)]
    if texts:
        rarest = max(texts, key=lambda name: len({record.get(name) for record in records[:10_000]}))
        value = middle[rarest]
        found = sum(record.get(rarest) == value for record in records)
        equal = {"filter": {"field": rarest, "eq": value}, "aggregate": {}}
        yield Question(f"count of one `{rarest}`", equal, f'{rarest}:="{value}" {count}', found)
    for name in fields:
        values = len({record.get(name) for record in records})
        if isinstance(middle[name], int) and not isinstance(middle[name], bool) and values <= 10_000:
            yield Question(f"count by `{name}`", {"aggregate": {"by": [name]}}, f"* | stats by ({name}) count() n", every)
            break


def measure(kind, binary, folder, bodies, asked):
    """Stores and asks; CPU seconds, bytes, and the median ms of each question."""
    server = kind(binary, folder)
    server.send(bodies)
    cpu = server.stop()
    size = server.bytes()
    server = kind(binary, folder)
    times = []
    for question in asked:
        taken = []
        for _ in range(ROUNDS + 2):
            started = time.perf_counter()
            found = server.query(question)
            taken.append((time.perf_counter() - started) * 1e3)
            if found != question.expected:
                sys.exit(f"{kind.__name__}, {question.name}: {found} found, expected {question.expected}")
        times.append(statistics.median(taken[2:]))
    server.stop()
    shutil.rmtree(folder)
    return cpu, size, times


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(is_done, process, patience_s=60):
    end = time.monotonic() + patience_s
    while time.monotonic() < end and process.poll() is None:
        try:
            if is_done():
                return
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit(f"{process.args[0]} did not start")


def ratio(values):
    return [f"{values[0] / values[1]:.2f}"] if len(values) > 1 else []


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timberlog", default="target/release/timberlog", help="the binary to measure")
    parser.add_argument("--victorialogs", help="a VictoriaLogs binary, measured in turn")
    parser.add_argument("--shapes", default=",".join(RECORDS), help="some of: %(default)s")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--share", type=float, default=1.0, help="of the records of each shape")
    parser.add_argument("--folder", help="where the data directories are made; they are removed")
    options = parser.parse_args()
    kinds = [(TimberLog, options.timberlog)] + [(VictoriaLogs, options.victorialogs)] * bool(options.victorialogs)
    titles = ["shape", "what", *[kind.__name__ for kind, _ in kinds], *["ours beside theirs"] * (len(kinds) - 1)]
    row(*titles)
    row(*["---"] * len(titles))
    for name in options.shapes.split(","):
        if name not in RECORDS:
            parser.error(f"unknown shape `{name}`, expected some of {', '.join(RECORDS)}")
        bodies, records = make(name, options.seed, options.share)
        asked = list(questions(records))
        raw = sum(map(len, bodies))
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            results = [measure(kind, binary, f"{folder}/{kind.__name__}", bodies, asked) for kind, binary in kinds]
        label = f"{name}: {len(records):,} records, {raw / 1e6:.0f} MB"
        for what, place, unit in (("stored", 0, "s CPU"), ("size", 1, "MB")):
            values = [result[place] / (1e6 if unit == "MB" else 1) for result in results]
            row(label if place == 0 else "", what, *[f"{value:.2f} {unit}" for value in values], *ratio(values))
        for n, question in enumerate(asked):
            values = [result[2][n] for result in results]
            row("", question.name, *[f"{value:.2f} ms" for value in values], *ratio(values))


if __name__ == "__main__":
    main()
