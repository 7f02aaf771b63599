"""The user's end of a lease: an open connection to the supervisor, which starts where none runs."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import psutil

from shoplab.errors import ServerError, SetupError
from shoplab.locks import exclusive
from shoplab.paths import private_directory, socket_directory
from shoplab.stack.wire import (
    VERSION,
    Channel,
    Down,
    Hello,
    Pin,
    Request,
    Status,
    asked,
    network,
    refused,
)
from shoplab.waiting import announced

Result = TypeVar("Result")

LAUNCH_TIMEOUT = 60.0
"""Seconds a supervisor may take until it can be reached, its predecessor's end included."""

ANSWER_TIMEOUT = 10.0
"""Seconds for an answer that needs no server: one that runs is there in milliseconds."""

PROMPT = (Status, Pin, Down)
"""The requests that need no server."""

LOOK_EVERY = 1.0
"""Seconds between two looks at a supervisor that starts or stops servers: does it still run?"""


def socket_path(home: Path) -> Path:
    """Where the supervisor of ``home`` listens."""
    return socket_directory(home) / "supervisor"


class Lease:
    """One connection to the supervisor of a home. While it is open, the servers run.

    Threads may share it: requests wait for each other. A forked child may not: its copy is closed
    at once, so that a child that lives on does not keep the servers running.
    """

    def __init__(self, channel: Channel, supervisor: int) -> None:
        self._channel = channel
        self._supervisor = supervisor
        self._lock = threading.Lock()
        self._ids = itertools.count()
        self._pid = os.getpid()
        _open_leases.add(self)

    def request(
        self, request: Request[Result], waiting_for: str = "Waiting for the local servers ..."
    ) -> Result:
        """Ask the supervisor; returns its result or raises the ``LabError`` that it met.

        ``waiting_for`` says what takes longer than two seconds.
        """
        if os.getpid() != self._pid:
            raise ServerError(
                "This connection to the local servers belongs to the process that opened it.",
                next_step="open a new one here: `Stack()`, or pass plain settings instead",
            )
        with self._lock, announced(waiting_for):
            message = self._converse(asked(next(self._ids), request))
        if message is None:
            raise ServerError(
                "The supervisor of the local servers has gone (`shoplab down`, or it was killed).",
                next_step="restart the kernel and run all cells; servers start with it",
            )
        if "error" in message:
            raise refused(message["error"])
        return cast(Result, message["result"])

    def _converse(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to this question; None at the conversation's end."""
        limit = ANSWER_TIMEOUT if question["do"] in [kind.__name__ for kind in PROMPT] else None
        try:
            self._channel.send(question)
            while True:
                message = _receive(self._channel, limit, lambda: self._supervisor)
                # Another id is the answer to what Ctrl+C interrupted.
                if message is None or message["id"] == question["id"]:
                    return message
        except OSError:
            return None

    def close(self) -> None:
        """End the lease. Safe to repeat."""
        _open_leases.discard(self)
        self._channel.connection.close()


_open_leases: weakref.WeakSet[Lease] = weakref.WeakSet()


def _close_in_child() -> None:
    for lease in list(_open_leases):
        if lease._channel.connection.fileno() >= 0:
            os.close(lease._channel.connection.detach())


os.register_at_fork(after_in_child=_close_in_child)


def find_lease(home: Path) -> Lease | None:
    """A lease on the servers of ``home``; None where no supervisor runs."""

    def owner() -> int | None:
        return next(iter(supervisors(home)), None)

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_TIMEOUT)
        try:
            connection.connect(str(socket_path(home)))
            channel = Channel(connection)
            hello = cast(Hello | None, _receive(channel, ANSWER_TIMEOUT, owner))
        except TimeoutError:
            raise _no_answer(owner()) from None
        except (ConnectionError, FileNotFoundError):
            return None
        if hello is None:  # it was about to go
            return None
        _check(hello)
        kept = Channel(socket.socket(fileno=connection.detach()))
    return Lease(kept, hello["pid"])


def _check(hello: Hello) -> None:
    if hello["version"] != VERSION:
        raise ServerError(
            "Another version of shoplab started the local servers "
            f"({hello['version']}, not {VERSION}).",
            next_step=f"end that supervisor: kill {hello['pid']}",
        )
    if hello["network"] != network():
        raise ServerError(
            "The local servers of this home run in another container, out of reach from here.",
            next_step="set SHOPLAB_HOME to a directory that only this container uses",
        )


def open_lease(home: Path) -> Lease:
    """A lease on the servers of ``home``; starts a supervisor if none runs."""
    try:
        lease = find_lease(home)
        if lease is not None:
            return lease
        private_directory(home)
        with exclusive(home / "start.lock", LAUNCH_TIMEOUT) as starting:
            lease = find_lease(home)  # another user may have started one meanwhile
            if lease is None:
                _launch(home, starting)
                lease = find_lease(home)
    except OSError as error:
        raise SetupError(
            f"The laboratory cannot write its state: {error}.",
            next_step="set SHOPLAB_HOME to a directory that is yours to write",
        ) from error
    if lease is None:
        raise ServerError(
            "The supervisor of the local servers went as soon as it had come.",
            next_step="try again; `shoplab doctor` checks what it needs",
            log=home / "supervisor.log",
        )
    return lease


def _launch(home: Path, starting: IO[str]) -> None:
    """Start a supervisor; returns when it can be reached.

    It inherits the lock ``starting``: if Ctrl+C ends this one, the next waits for that supervisor.
    """
    try:
        launched = subprocess.run(
            [*_COMMAND, str(home)],
            stdin=starting,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=LAUNCH_TIMEOUT,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError(
            f"The supervisor of the local servers was not ready after {LAUNCH_TIMEOUT:.0f} s.",
            next_step="run `shoplab down`, then try again",
            log=home / "supervisor.log",
        ) from error
    if launched.returncode:
        reason = (launched.stderr.strip().splitlines() or ["no reason given"])[0]
        raise ServerError(
            f"The supervisor of the local servers did not start: {reason}",
            next_step="run `shoplab doctor`",
            log=home / "supervisor.log",
        )


_COMMAND = (sys.executable, "-P", "-m", "shoplab.stack.supervisor", "--home")


def supervisors(home: Path) -> list[int]:
    """The PIDs of the supervisors of ``home``, by their command lines, whoever can reach them."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if line[2:] == [*_COMMAND[2:], os.fspath(home)]:
            found.append(process.pid)
    return found


def _receive(
    channel: Channel, limit: float | None, supervisor: Callable[[], int | None]
) -> dict[str, Any] | None:
    """The next message, or the reason why there is none from a supervisor that is there."""
    waited = 0.0
    while True:
        try:
            return channel.receive(LOOK_EVERY)
        except TimeoutError:
            waited += LOOK_EVERY
            pid = supervisor()
            if (pid is not None and _stands_still(pid)) or (limit is not None and waited >= limit):
                raise _no_answer(pid) from None


def _stands_still(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:  # it has gone, which the connection tells, or is out of sight
        return False


def _no_answer(pid: int | None) -> ServerError:
    if pid is not None and _stands_still(pid):
        return ServerError(
            f"The supervisor of the local servers (pid {pid}) is stopped: it cannot answer.",
            next_step=f"let it go on, `kill -CONT {pid}`, or end it with `shoplab down`",
        )
    return ServerError(
        f"The supervisor of the local servers{f' (pid {pid})' if pid else ''} does not answer.",
        next_step="try again when the machine is less busy, or end it with `shoplab down`",
    )
