"""syslog-ng between a sender of RFC 5424 messages and the server: a syslog source, an HTTP destination."""

import datetime
import os
import signal
import socket
import subprocess

from server import PATIENCE_S, until

# The severity's number in a message, and syslog-ng's word for it.
SEVERITIES = {"debug": (7, "debug"), "info": (6, "info"), "warning": (4, "warning"), "error": (3, "err"),
              "critical": (2, "crit")}
FACILITY_USER = 1

# A JSON string is what `format-json` writes of one value, without the object around it.
CONFIG = """@version: 3.35
options { keep-hostname(yes); log-msg-size(65536); };
source incoming { syslog(ip("127.0.0.1") port(%(port)d) transport("tcp")); };
destination loki {
  http(
    url("%(url)s/loki/api/v1/push") method("POST") headers("Content-Type: application/json")
    batch-lines(100) batch-timeout(200) workers(1)
    body-prefix('{"streams":[') delimiter(",") body-suffix("]}")
    body('{"stream":{"application":"syslog-ng","host":"$HOST","program":"$PROGRAM","level":"$LEVEL"},"values":[["${UNIXTIME}${USEC}000",$(substr "$(format-json m=$MSG)" 5 -1),{"trace":"${.SDATA.shop@1.trace}"}]]}')
  );
};
log { source(incoming); destination(loki); };
"""


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _message(entry, at):
    priority = FACILITY_USER * 8 + SEVERITIES[entry["level"]][0]
    time = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    head = f'<{priority}>1 {time} till-7 shop 42 ID1 [shop@1 trace="{entry["trace"]}"] '
    # The byte order mark says that the text is UTF-8.
    text = head.encode() + b"\xef\xbb\xbf" + entry["message"].encode()
    return b"%d %s" % (len(text), text)


def _connected(port, process):
    assert process.poll() is None, f"syslog-ng ended: {process.stderr.read().decode()[-2000:]}"
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    except ConnectionRefusedError:
        return None


def send(folder, url, entries):
    """Sends entries through a syslog-ng of its own, and ends it when it has sent them on."""
    port = _free_port()
    config = folder / "syslog-ng.conf"
    config.write_text(CONFIG % {"port": port, "url": url})
    names = [f"--{name}={folder / name}" for name in ("persist-file", "pidfile", "control")]
    environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin")
    command = ["syslog-ng", "--foreground", "--no-caps", f"--cfgfile={config}", *names]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5)
        with until("syslog-ng listens", lambda: _connected(port, process)) as connection:
            for number, entry in enumerate(entries):
                connection.sendall(_message(entry, start + datetime.timedelta(milliseconds=number)))
        yield_until_sent(folder, len(entries))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)


def yield_until_sent(folder, count):
    """Waits until the destination has written as many messages as it got."""
    def written():
        stats = subprocess.run(["/usr/sbin/syslog-ng-ctl", "stats", f"--control={folder / 'control'}"],
                               capture_output=True, text=True).stdout
        rows = [line.split(";") for line in stats.splitlines() if line.startswith("dst.http;")]
        return sum(int(row[-1]) for row in rows if row[-2] == "written") >= count
    until("syslog-ng has sent everything", written)
