"""Start a child: a process that waits for its order, with the environment and the place of now.

There are two ways, and whoever holds the child sees no difference:

- a **fork** of a server that has loaded the course's libraries already (``forked``): there in
  hundredths of a second, where Linux can tell of a process by a file descriptor;
- a **fresh interpreter**: everywhere else, wherever the server is not to be had, and for whoever
  sets ``SHOPLAB_FORK=off``.

One server serves a process and all its labs. It starts with the first lab, so that it loads while
the first cells run.
"""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from shoplab.environment import for_processes
from shoplab.processes.forked import ForkServer
from shoplab.processes.order import Order, send

CHILD = (sys.executable, "-m", "shoplab.processes.child")
"""The program of a child, and of the server that forks them."""

AT_START = re.compile(
    r"PYTHON(?!PATH$)\w+|LANG|LANGUAGE|LC_\w+|LD_\w+|MALLOC_\w+"  # what an interpreter reads
    r"|PSYCOPG_\w+|PYDANTIC_\w+|WRAPT_\w+|PSUTIL_\w+"  # and what the libraries read
)
"""Variables that count at an interpreter's start or at an import, and never again."""


class Child(Protocol):
    """A process that was started here, as ``subprocess.Popen`` holds it.

    What is written to ``stdin`` is its order; the end of ``stdin`` is its own end.
    """

    pid: int
    stdin: IO[bytes] | None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. ``subprocess.TimeoutExpired`` after ``timeout`` seconds."""

    def terminate(self) -> None:
        """Send it SIGTERM, unless it has ended."""

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended."""

    def send_signal(self, number: int) -> None:
        """Send it any signal, unless it has ended."""


def start(
    log: int,
    inherited: Sequence[int] = (),
    *,
    variables: Mapping[str, str] | None = None,
    libraries: Sequence[str] = (),
) -> Child:
    """Start a child that prints to ``log``, and has the file descriptors ``inherited`` besides.

    ``variables`` are put into its environment. ``libraries`` are modules that it will need: a fork
    server loads them once for all.

    It is alone in a process group of our session. An interrupt of the kernel's group does not reach
    it; and if we die while it is halted, the system wakes it and ends it, since POSIX leaves no
    stopped process in a group that nobody can resume.
    """
    ours = _environment()
    environment = {**ours, **(variables or {})}
    with _lock:
        server = _server_here(ours)
        if server is not None and _at_start(environment) == _at_start(server.environment):
            try:
                return server.fork(log, inherited, environment, libraries)
            except OSError:  # it has died, or never lived
                _leave_server()
    return _interpreter(
        *CHILD,
        environment=environment,
        stdin=subprocess.PIPE,
        output=log,
        inherited=inherited,
    )


def launch(
    order: Order,
    call: bytes,
    log: Path,
    inherited: Sequence[int] = (),
    *,
    variables: Mapping[str, str] | None = None,
    libraries: Sequence[str] = (),
) -> Child:
    """Start a child as ``start`` does, printing to the end of ``log``, and give it its order."""
    with log.open("ab") as output:
        child = start(output.fileno(), inherited, variables=variables, libraries=libraries)
    assert child.stdin is not None
    with suppress(BrokenPipeError):  # it died first; whoever holds it learns of it
        send(child.stdin, order, call)
    return child


def prepare() -> None:
    """Let the fork server start and load, where there is one, before the first child is wanted."""
    with _lock:
        _server_here(_environment())


def _server_here(environment: Mapping[str, str]) -> ForkServer | None:
    global _server
    if os.environ.get("SHOPLAB_FORK") == "off" or not _can_fork():
        return None
    if _server is None:
        ours, theirs = ForkServer.connection()
        with theirs:
            process = _interpreter(
                *CHILD,
                str(theirs.fileno()),
                environment=environment,
                stdin=subprocess.DEVNULL,
                output=subprocess.DEVNULL,
                inherited=[theirs.fileno()],
            )
        _server = ForkServer(process, ours, environment)
    return _server


def _interpreter(
    *command: str, environment: Mapping[str, str], stdin: int, output: int, inherited: Sequence[int]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=inherited,
        process_group=0,
        env=environment,
    )


def _environment() -> dict[str, str]:
    return for_processes(os.environ) | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if AT_START.fullmatch(name)}


def _can_fork() -> bool:
    """Whether a process can be held by a file descriptor: Linux since 5.3 does, macOS does not."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


_lock = threading.Lock()
_server: ForkServer | None = None


def _leave_server() -> None:
    global _server
    if _server is not None:
        _server.close()
    _server = None


def _forget_server() -> None:
    """In a fork of this process: the server is its parent's."""
    global _lock, _server
    _lock = threading.Lock()
    if _server is not None:
        _server.forget()
    _server = None


# Before any lab's: what is registered first is called last, when no lab holds a child any more.
atexit.register(_leave_server)
os.register_at_fork(after_in_child=_forget_server)
