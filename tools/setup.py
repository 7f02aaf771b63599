"""Set up the environment in `.venv`: locked packages, the course's own package, the servers' files.

Uses the standard library only, since it runs before anything is installed. `--ready` only answers,
by exit status 0 or 1, whether there is nothing to do.

A stamp in `.venv` says what the environment was made from, and is written last: an environment
without it is made anew, so a failure half-way cannot spoil the second try.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "made-from.json"
LOCK = CHECKOUT / ".setup.lock"
REQUIREMENTS = CHECKOUT / "requirements.txt"

# uv reads neither pip's variables nor its files; whoever has set these means them for us as well.
PIP_TO_UV = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_CERT": "SSL_CERT_FILE"}


NETWORK = "check the network (HTTPS_PROXY is honoured) and free disk space, then try again"
STARTED = time.monotonic()


def main() -> None:
    """Do what is left to do."""
    if sys.argv[1:] == ["--ready"]:
        sys.exit(0 if recorded() == packages() | servers() else 1)
    try:
        with only_one():
            set_up()
    except KeyboardInterrupt:
        sys.exit("\nSet-up was stopped. The next make takes it up again.")
    except OSError as error:
        sys.exit(f"Set-up failed: {error}.\nNext: look at disk space and permissions; try again.")


def set_up() -> None:
    """Bring `.venv` and the servers' files to what the checkout asks for."""
    found, wanted = recorded(), packages()
    if found == wanted | servers():  # somebody else did it while we waited for the lock
        return
    if any(found.get(key) != value for key, value in wanted.items()):
        STAMP.unlink(missing_ok=True)
        if found.get("place") != wanted["place"]:
            make_environment()
        install_packages()
        record(wanted)
    say("Kafka's jars, and a cache that makes its start quick")
    run(PYTHON, "-m", "shoplab.cli", "setup", or_else="mend what the message above names")
    record(wanted | servers())


def packages() -> dict[str, object]:
    """What the packages in `.venv` are made from: place and Python, lock, this script."""
    sources = (REQUIREMENTS, CHECKOUT / "pyproject.toml", Path(__file__))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return {"place": [str(CHECKOUT), list(sys.version_info[:2])], "sources": digest}


def servers() -> dict[str, object]:
    """Where the servers' files are kept: with another home or cache they are fetched there too."""
    return {"cache": [os.environ.get(n) for n in ("SHOPLAB_CACHE", "XDG_CACHE_HOME", "HOME")]}


def recorded() -> dict[str, object]:
    """The stamp; empty where there is none, or none that can be read, or `.venv` does not run."""
    try:
        found = json.loads(STAMP.read_text())
        subprocess.run([PYTHON, "-c", ""], check=True, stderr=subprocess.DEVNULL)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return {}
    return found if isinstance(found, dict) else {}


def record(made_from: dict[str, object]) -> None:
    """Write the stamp, whole or not at all."""
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(json.dumps(made_from))
    fresh.replace(STAMP)


def make_environment() -> None:
    """A new virtual environment with uv in it, at the locked version and hash."""
    say("virtual environment in .venv")
    base = getattr(sys, "_base_executable", sys.executable)  # never a Python that --clear removes
    run(base, "-m", "venv", "--clear", VENV, or_else="check this Python, or name one by PYTHON=")
    lock = REQUIREMENTS.read_text()
    start = lock.index("\nuv==") + 1
    uv = VENV / "uv.txt"
    uv.write_text(lock[start : lock.index("    # via", start)])
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--require-hashes", "--no-deps", "-r", uv, or_else=NETWORK)


def install_packages() -> None:
    """Everything in the lock, each by its hash; then the course's own package, editable."""
    say("packages: about 200 of them")
    uv = (VENV / "bin" / "uv", "pip", "install", "--python", PYTHON)
    quiet = () if sys.stderr.isatty() else ("--quiet",)
    run(*uv, *quiet, "--require-hashes", "-r", REQUIREMENTS, or_else=NETWORK)
    own = ("--quiet", "--no-deps", "--no-build-isolation", "--editable", CHECKOUT)
    run(*uv, *own, or_else="`make clean-all`, then try again")


def say(what: str) -> None:
    """Say what begins now, and how long it has been."""
    print(f"[{time.monotonic() - STARTED:3.0f} s] {what}", flush=True)


def run(*command: str | Path, or_else: str) -> None:
    """Run a command; end with its own message and a next step when it fails."""
    environment = dict(os.environ)
    for pip, uv in PIP_TO_UV.items():
        if pip in environment:
            environment.setdefault(uv, environment[pip])
    if subprocess.run([str(part) for part in command], env=environment, cwd=CHECKOUT).returncode:
        sys.exit(f"Set-up failed; the message above says at what.\nNext: {or_else}.")


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the checkout's set-up lock, which ends with the process, however it ends."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another make is setting up; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main()
