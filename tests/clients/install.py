"""Installs the clients at pinned versions: PyPI's and npm's into a folder, Debian's into the system."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
DEBIAN = ("syslog-ng-core", "syslog-ng-mod-http")


def _run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        sys.exit(f"clients: `{' '.join(map(str, command))}` failed:\n{done.stdout[-4000:]}")
    return done.stdout


def _once(folder, sources, make):
    """Makes a folder unless it was made of the same sources."""
    mark, digest = folder / ".made-of", hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    if not mark.exists() or mark.read_text() != digest.hexdigest():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make()
        mark.write_text(digest.hexdigest())


def python(cache):
    """The interpreter of an environment with the Python clients."""
    folder, wanted = cache / "python", HERE / "requirements.txt"
    interpreter = folder / "bin" / "python"

    def make():
        _run([sys.executable, "-m", "venv", folder])
        _run([interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted])

    _once(folder, [wanted], make)
    return interpreter


def node(cache):
    """A folder with the Node clients, and our programs beside them: that is where Node looks for packages."""
    folder = cache / "node"
    sources = [HERE / name for name in ("package.json", "package-lock.json", ".npmrc")]

    def make():
        for source in sources:
            shutil.copy(source, folder)
        _run(["npm", "ci", "--ignore-scripts", "--no-progress"], cwd=folder)

    _once(folder, sources, make)
    for program in [*PROGRAMS.glob("*.mjs"), *PROGRAMS.glob("*.cjs")]:
        shutil.copy(program, folder)
    return folder


def syslog_ng():
    """Why syslog-ng is not there, if it is not to be had; else `None`."""
    if not _has_syslog_ng():
        if not shutil.which("apt-get"):
            return "no syslog-ng here, and no apt-get to install it"
        if os.geteuid() != 0:
            return "no syslog-ng here, and only root may install it"
        # Nothing may start a service on the machine of whoever runs this.
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *DEBIAN]
        for command in (["apt-get", "update", "-qq"], install):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
            if done.returncode:
                return f"`{' '.join(command)}` failed: {done.stderr.strip()[-300:]}"
    return None if _has_syslog_ng() else "syslog-ng was installed, but has no module `http`"


def _has_syslog_ng():
    if not shutil.which("syslog-ng", path=os.environ["PATH"] + ":/usr/sbin"):
        return False
    modules = [line for line in _run(["syslog-ng", "--version"]).splitlines() if line.startswith("Available-Modules")]
    return any("http" in line.replace(":", ",").split(",") for line in modules)
