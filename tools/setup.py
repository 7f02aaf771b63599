"""Set up the environment in `.venv`: locked packages, the course's own package, the servers' files.

Uses the standard library only, since it runs before anything is installed. The first half makes
`.venv`, which belongs to the checkout: whoever may write there makes it, all others use it as it
is. The second half is run by `.venv`'s own Python, also alone (`--servers`), and brings the
servers' files into the user's own cache.

A stamp in `.venv` says what the environment was made from, and is written last: an environment
without it is made anew, so a failure half-way cannot spoil the second try. A second one, beside
the servers' files, says the same for these.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "made-from.json"
LOCK = CHECKOUT / ".setup.lock"
REQUIREMENTS = CHECKOUT / "requirements.txt"
RULES = runpy.run_path(str(CHECKOUT / "src" / "shoplab" / "environment.py"))

NETWORK = (
    "check the network (HTTPS_PROXY, PIP_INDEX_URL and PIP_CERT are honoured) and free disk space, "
    "then try again"
)
COPY = "cp -r . ~/my-course && chmod -R u+w ~/my-course && cd ~/my-course"
UNTRUSTED = (
    "Set-up failed: the certificate of the package registry, or of a proxy before it, "
    "is not trusted"
)
SECOND_HALF = sys.argv[1:2] == ["--servers"]
STARTED = float(sys.argv[2]) if SECOND_HALF and sys.argv[2:] else time.monotonic()


def main() -> None:
    """Do what is left to do."""
    try:
        if not SECOND_HALF:
            set_up_packages()
            os.execv(PYTHON, [str(PYTHON), "-I", __file__, "--servers", str(STARTED)])
        set_up_servers()
    except KeyboardInterrupt:
        sys.exit("\nSet-up was stopped. The next make takes it up again.")
    except OSError as error:
        fail(f"Set-up failed: {error}", "look at disk space and permissions; try again")


def set_up_packages() -> None:
    """Bring `.venv` to what the checkout asks for."""
    if made() == wanted():
        return
    if not os.access(CHECKOUT, os.W_OK):
        fail(
            f"{VENV} is not complete, or not yours to run, and you may not write there",
            "ask its owner to run `make setup` with a Python that you can run, too, or work in a "
            f"copy of your own: `{COPY}`",
        )
    with only_one():
        found = made()
        if found == wanted():  # somebody else did it while we waited for the lock
            return
        STAMP.unlink(missing_ok=True)
        if found.get("place") != wanted()["place"]:
            make_environment()
        install_packages()
        record(STAMP)


def set_up_servers() -> None:
    """Bring the servers' files to where this user keeps them."""
    from shoplab.errors import SetupError
    from shoplab.paths import cache_directory

    place = hashlib.sha256(sys.prefix.encode()).hexdigest()[:12]
    try:
        stamp = cache_directory() / f"set-up-{place}.json"
    except SetupError as error:
        sys.exit(str(error))
    if read(stamp) == wanted():
        return
    say("Kafka's jars, and a cache that makes its start quick")
    run(sys.executable, "-m", "shoplab.cli", "setup", or_else="do what the message above names")
    # A cache that several users share may be complete and read-only: then look again each time.
    with suppress(OSError):
        record(stamp)


def wanted() -> dict[str, object]:
    """What set-up is made from: place and Python, lock, list of jars, this script."""
    jars = CHECKOUT / "src" / "shoplab" / "servers" / "kafka" / "jars.txt"
    sources = (REQUIREMENTS, CHECKOUT / "pyproject.toml", jars, Path(__file__))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return {"place": [str(CHECKOUT), list(sys.version_info[:2])], "sources": digest}


def made() -> dict[str, object]:
    """What `.venv` was made from; empty where there is none, or none that runs."""
    try:
        subprocess.run([PYTHON, "-I", "-c", ""], check=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return read(STAMP)


def read(stamp: Path) -> dict[str, object]:
    """A stamp; empty where there is none, or none that can be read."""
    try:
        found = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def record(stamp: Path) -> None:
    """Write a stamp, whole or not at all."""
    fresh = stamp.with_suffix(".new")
    fresh.write_text(json.dumps(wanted()))
    fresh.replace(stamp)


def make_environment() -> None:
    """A new virtual environment with uv in it, at the locked version and hash."""
    say("virtual environment in .venv")
    base = getattr(sys, "_base_executable", sys.executable)  # never a Python that --clear removes
    make = (base, "-I", "-m", "venv", "--clear", VENV)
    env = RULES["for_setup"](os.environ)
    run(*make, env=env, or_else="check this Python, or name one by PYTHON=")
    text = REQUIREMENTS.read_text()
    start = text.index("\nuv==") + 1
    uv = VENV / "uv.txt"
    uv.write_text(text[start : text.index("    # via", start)])
    log = VENV / "pip.log"
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet", "--log", log, "install")
    lock = ("--progress-bar", "off", "--require-hashes", "--no-deps", "-r", uv)
    try:
        run(*pip, *lock, or_else=NETWORK)
    except SystemExit:
        if log.exists() and "CERTIFICATE_VERIFY_FAILED" in log.read_text(errors="replace"):
            fail(UNTRUSTED, RULES["TRUST"])
        raise


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


def run(*command: str | Path, or_else: str, env: dict[str, str] | None = None) -> None:
    """Run a command; end with its own message and a next step when it fails."""
    parts = [str(part) for part in command]
    if subprocess.run(parts, env=env or environment(), cwd=CHECKOUT).returncode:
        fail("Set-up failed; the message above says at what", or_else)


def fail(what: str, next_step: str) -> NoReturn:
    """End with a sentence and a next step."""
    sys.exit(f"{what}.\nNext: {next_step}.")


@cache
def environment() -> dict[str, str]:
    """What pip, uv and the jars' download see of the user's variables and of pip's own files."""
    python = sys.executable if SECOND_HALF else PYTHON
    asked = {k: v for k, v in os.environ.items() if k == "PIP_CONFIG_FILE" or k[:4] != "PIP_"}
    pip = (python, "-I", "-m", "pip", "config", "list", "-vvv")  # a file may say `quiet`
    answer = subprocess.run(pip, env=asked, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        fail("Set-up failed; pip cannot read its own settings", "correct what it names above")
    made: dict[str, str] = RULES["for_setup"](os.environ, answer.stdout)
    return made


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
