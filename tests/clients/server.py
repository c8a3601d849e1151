"""A server process on free ports, with a data directory that outlives it, and HTTP to talk to it."""

import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE_S = 60


def until(what, check, patience_s=PATIENCE_S):
    """Asks again and again until the answer is true; returns it."""
    deadline = time.monotonic() + patience_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s} s: {what}")
        time.sleep(0.05)


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


class Address:
    """What is asked over HTTP: our server, or (to check the expectations) a Loki that runs already."""

    # Entries of one stream and one time are in the order in which they came; in Loki's answers they are not.
    keeps_order = False

    def __init__(self, url):
        self.url = url

    def ask(self, path, *parameters, tenant="default", method="GET", headers=None, **more):
        """The JSON of an answer. Parameters are pairs or named; POST sends them as a form."""
        pairs = urllib.parse.urlencode([*parameters, *more.items()])
        headers = {"X-Scope-OrgID": tenant, **(headers or {})}
        url, body = f"{self.url}{path}?{pairs}", None
        if method == "POST":
            url, body = self.url + path, pairs.encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return json.loads(self.exchange(url, body, headers)[1])

    def push(self, streams, tenant="default"):
        body = json.dumps({"streams": streams}).encode()
        headers = {"X-Scope-OrgID": tenant, "Content-Type": "application/json"}
        status, _ = self.exchange(self.url + "/loki/api/v1/push", body, headers)
        assert status == 204, status

    @staticmethod
    def exchange(url, body, headers):
        request = urllib.request.Request(url, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode()) from None

    def entries(self, query, tenant="default", **parameters):
        """All entries that a query finds, stream by stream: pairs of labels and [ns, line, metadata]."""
        parameters = {"direction": "forward", "limit": 5000, "since": "1h", **parameters}
        headers = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
        answer = self.ask("/loki/api/v1/query_range", query=query, tenant=tenant, headers=headers, **parameters)
        assert answer["status"] == "success" and answer["data"]["resultType"] == "streams", answer
        return [
            (stream["stream"], [(int(ns), line, more.get("structuredMetadata", {})) for ns, line, more in stream["values"]])
            for stream in answer["data"]["result"]
        ]


class Server(Address):
    """A process of ours."""

    keeps_order = True

    def __init__(self, binary, folder):
        super().__init__(None)
        self.binary, self.folder, self.process, self.said = str(binary), folder, None, []

    def start(self):
        """Starts and waits until it is ready. The ports are the system's choice, new at each start."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TIMBERLOG_")}
        addresses = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"]
        command = [self.binary, "serve", "--data-dir", str(self.folder), *addresses]
        self.url = None
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True).start()
        until("the server is ready", lambda: self.url or self.process.poll() is not None)
        assert self.url, f"the server did not start: {self.said[-5:]}"

    def _listen(self, stderr):
        for line in stderr:
            self.said.append(line.rstrip())
            ready = re.search(r"is ready: HTTP on (http://\S+),", line)
            if ready:
                self.url = ready.group(1)

    def stop(self):
        self.process.terminate()
        status = self.process.wait(timeout=PATIENCE_S)
        assert status == 0, f"the server ended with {status}: {self.said[-5:]}"

    def restart(self):
        self.stop()
        self.start()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
