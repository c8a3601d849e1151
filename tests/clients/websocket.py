"""As much of a WebSocket client as a tail needs."""

import base64
import json
import os
import socket
import struct
import urllib.parse

from server import PATIENCE_S

TEXT, CLOSE = 1, 8


class Tail:
    """The messages of a tail; ends it when left."""

    def __init__(self, url, path, headers=None, **parameters):
        host = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((host.hostname, host.port), timeout=PATIENCE_S)
        self.received = self.socket.makefile("rb")
        head = [
            f"GET {path}?{urllib.parse.urlencode(parameters)} HTTP/1.1",
            f"Host: {host.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self.socket.sendall("\r\n".join([*head, "", ""]).encode())
        status = self.received.readline()
        assert b" 101 " in status, status
        while self.received.readline() != b"\r\n":
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Frames of a client are masked; a mask of zeros changes nothing.
        self.socket.sendall(struct.pack("!BBIH", 0x80 | CLOSE, 0x80 | 2, 0, 1000))
        self.received.close()
        self.socket.close()

    def message(self):
        """The next message, from JSON."""
        while True:
            kind, length = self.received.read(2)
            if length == 126:
                length, = struct.unpack("!H", self.received.read(2))
            elif length == 127:
                length, = struct.unpack("!Q", self.received.read(8))
            payload = self.received.read(length)
            assert kind & 0x0F != CLOSE, f"the tail ended: {payload!r}"
            if kind & 0x0F == TEXT:
                return json.loads(payload)
