"""What the servers need, checked one by one, each finding with its next step."""

from __future__ import annotations

import locale
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shoplab.environment import for_processes
from shoplab.errors import LabError, unforeseen
from shoplab.locks import held
from shoplab.paths import (
    DISK_NEEDED_MB,
    cache_directory,
    error_log,
    home_directory,
    private_socket_directory,
)
from shoplab.servers import external, postgres, rabbitmq
from shoplab.servers.kinds import SHARED
from shoplab.servers.redis import survey
from shoplab.stack import Stack
from shoplab.stack.lease import supervisors
from shoplab.stack.leftovers import left_behind
from shoplab.system import require_supported_system

OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, whether it is good, what to do if it is not."""

    what: str
    good: bool = True
    next_step: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything; a problem in one thing does not hide the next."""
    checks: tuple[Callable[[], Finding], ...] = (
        _system,
        _python,
        _assertions,
        _foreign,
        _kafka,
        _redis,
        _postgres,
        _cache,
        _home,
        _locale,
        _proxy,
        _stack,
        _rabbitmq,
        *(partial(_external, kind) for kind in SHARED),
    )
    for check in checks:
        yield _guarded(check)


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except LabError as error:
        return Finding(error.what, False, error.next_step)
    except OSError as error:
        return Finding(str(error), False, "make that path yours to read and write")
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks are still shown
        told = unforeseen(error, error_log())
        return Finding(told.what, False, told.next_step)


def _system() -> Finding:
    require_supported_system()
    return Finding(f"{platform.system()} {platform.machine()}")


def _python() -> Finding:
    good = sys.version_info >= OLDEST_PYTHON
    oldest = ".".join(map(str, OLDEST_PYTHON))
    step = "" if good else f"make the environment again with Python {oldest} or newer"
    return Finding(f"Python {platform.python_version()}", good, step)


def _assertions() -> Finding:
    if __debug__:
        return Finding("assertions are on")
    step = "unset PYTHONOPTIMIZE, and leave out `python -O`"
    return Finding("assertions are off: a claim that fails would pass unseen", False, step)


def _foreign() -> Finding:
    left_out = sorted(set(os.environ) - set(for_processes(os.environ)))
    if not left_out:
        return Finding("no variables that are meant for other work")
    return Finding(f"variables that the course leaves out: {', '.join(left_out)}")


def _kafka() -> Finding:
    from shoplab.servers.kafka.jars import missing_jars
    from shoplab.servers.kafka.setup import installed

    missing = missing_jars()
    if missing:
        return Finding(f"Kafka: {len(missing)} jars are missing", False, "run `shoplab setup`")
    installation = installed()
    if installation is None:
        return Finding("Kafka: its class cache is missing", False, "run `shoplab setup`")
    cache = "with" if installation.aot_cache else "without (its Java is too old for one)"
    return Finding(f"Kafka: all jars, {installation.java.description}, {cache} a class cache")


def _redis() -> Finding:
    binary, skipped = survey()
    note = "".join(f"; skipped: {reason}" for reason in skipped)
    if binary is None:
        return Finding(f"Redis: no server can be run{note}", False, "run `make setup` again")
    return Finding(f"Redis: {binary}{note}")


def _postgres() -> Finding:
    postgres.require_user()
    return Finding(f"PostgreSQL: {postgres.version()}")


def _rabbitmq() -> Finding:
    if external.named("rabbitmq"):
        return _external("rabbitmq")
    found = rabbitmq.script()
    if found is None:
        return Finding("no RabbitMQ; only the notebook that compares brokers would use one")
    return Finding(f"RabbitMQ: {found}, {rabbitmq.version()}")


def _cache() -> Finding:
    from shoplab.servers.kafka.setup import is_set_up

    directory = cache_directory()
    if not os.access(directory, os.W_OK) and is_set_up():
        return Finding(f"the cache: {directory}, complete, not yours to write")
    return _room(directory, "the cache")


def _home() -> Finding:
    directory = home_directory()
    sockets = private_socket_directory(directory)
    probe = sockets / f".doctor-{os.getpid()}"
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(probe))
    except OSError as error:
        step = "set SHOPLAB_HOME to a directory on a disk of this machine"
        return Finding(f"no Unix socket can be made in {sockets}: {error.strerror}", False, step)
    finally:
        probe.unlink(missing_ok=True)
    return _room(directory, "the home")


def _room(directory: Path, what: str) -> Finding:
    probe = directory / f".doctor-{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()
    free = shutil.disk_usage(directory).free / 1e6
    if free < DISK_NEEDED_MB:
        step = f"free some space: {DISK_NEEDED_MB} MB are needed"
        return Finding(f"{directory} has {free:.0f} MB left", False, step)
    return Finding(f"{what}: {directory}, {free / 1e3:,.0f} GB free")


def _locale() -> Finding:
    chosen = os.environ.get("LC_ALL") or os.environ.get("LANG") or "C"
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        return Finding(f"locale {chosen} is not installed; the servers run with C instead")
    return Finding(f"locale {chosen}")


def _proxy() -> Finding:
    names = [name for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") if _is_set(name)]
    if not names:
        return Finding("no proxy")
    return Finding(f"proxy for downloads only ({', '.join(names)}); local calls go straight")


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(name.lower()))


def _stack() -> Finding:
    home = home_directory()
    if Stack(home).status() is not None:
        return Finding("local servers run; `shoplab status` shows them")
    if held(home / "supervisor.lock"):
        pid = next(iter(supervisors(home)), "in another container")
        step = "end it and its servers: `shoplab down`"
        return Finding(f"a supervisor ({pid}) runs out of reach", False, step)
    if left := len(left_behind(home)):
        return Finding(
            f"the last supervisor was killed; {left} servers of it still run",
            False,
            "run `shoplab down` (the next start would end them too)",
        )
    return Finding("no local servers run")


def _external(kind: str) -> Finding:
    variable = external.VARIABLES[kind]
    if not external.named(kind):
        return Finding(f"{variable} is not set: {kind} runs here")
    external.settings(kind)
    return Finding(f"{variable} names a server that answers")
