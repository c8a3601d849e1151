#!/usr/bin/env python3
"""Tests a `timberlog` binary with Loki clients that we did not write: each sends a thousand entries
through its own public API, all of them are read back, before a restart and after it; then clients
that read, logcli if it is given, and the requests of Grafana's data source."""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

import corpus
import grafana
import install
import logcli
import readers
from server import Address, Server, until
from writers import WRITERS, SyslogNg

ROOT = install.HERE.parent.parent


class Machine:
    """What is installed, and a folder to work in."""

    def __init__(self, cache, folder):
        self.python, self.node = install.python(cache), install.node(cache)
        self.folder = folder
        self.corpus = folder / "corpus.json"
        self.corpus.write_text(json.dumps(corpus.entries(), ensure_ascii=False), encoding="utf-8")

    def interpreter(self, program):
        return self.python if program.endswith(".py") else shutil.which("node")

    def program(self, program):
        return (install.PROGRAMS if program.endswith(".py") else self.node) / program


class Report:
    """Counts what passed, failed and was left out, and says so line by line."""

    def __init__(self):
        self.passed = self.skipped = 0
        self.failed = []

    def run(self, name, check):
        started = time.monotonic()
        try:
            check()
        except Exception as error:
            self.failed.append(name)
            print(f"FAILED {name}: {str(error)[:3000]}", flush=True)
            if not isinstance(error, AssertionError) or not str(error):
                traceback.print_exc()
        else:
            self.passed += 1
            print(f"ok {name} ({time.monotonic() - started:.1f} s)", flush=True)

    def skip(self, name, reason):
        self.skipped += 1
        print(f"LEFT OUT {name}: {reason}", flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--timberlog", type=pathlib.Path, help="the binary to test")
    what.add_argument("--against", help="the address of a running, empty Loki: checks the expectations instead")
    parser.add_argument("--cache", type=pathlib.Path, default=ROOT / "target" / "clients", help="where clients are installed")
    parser.add_argument("--logcli", type=pathlib.Path, help="a logcli to test with; left out without it")
    parser.add_argument("--only", help="only writers whose name contains this, and what is no writer")
    return parser.parse_args()


def main():
    given = arguments()
    report, writers = Report(), list(WRITERS)
    print("installing clients", flush=True)
    missing = install.syslog_ng()
    if missing:
        report.skip("syslog-ng", missing)
    else:
        writers.append(SyslogNg())
    if not given.logcli:
        report.skip("logcli", "no --logcli PATH")
    writers = [writer for writer in writers if not given.only or given.only in writer.name]
    entries = corpus.entries()
    with tempfile.TemporaryDirectory(prefix="timberlog-clients-") as folder:
        folder = pathlib.Path(folder)
        machine = Machine(given.cache.resolve(), folder)
        server = Server(given.timberlog.resolve(), folder / "data") if given.timberlog else Address(given.against)
        try:
            if given.timberlog:
                server.start()
            for writer in writers:
                report.run(f"{writer.name} sends", lambda: sends(writer, machine, server, entries))
            fixed = grafana.Fixed(server)
            checks = grafana.checks(fixed) + readers.checks(fixed, machine)
            if given.logcli:
                checks += logcli.checks(fixed, given.logcli)
            for name, check in checks:
                report.run(name, check)
            if given.timberlog:
                report.run("restart", server.restart)
                for writer in writers:
                    report.run(f"{writer.name} after a restart", lambda: writer.check(server, entries))
                for name, check in grafana.checks(fixed):
                    report.run(f"{name} after a restart", check)
                report.run("the last stop is clean", server.stop)
        finally:
            if given.timberlog:
                server.kill()
    for name in report.failed:
        print(f"FAILED {name}")
    print(f"clients: {report.passed} passed, {len(report.failed)} failed, {report.skipped} skipped")
    return 1 if report.failed else 0


def sends(writer, machine, server, entries):
    writer.send(machine, server.url)
    until(f"{len(entries)} entries are there", lambda: writer.count(server) >= len(entries), patience_s=20)
    writer.check(server, entries)


if __name__ == "__main__":
    sys.exit(main())
