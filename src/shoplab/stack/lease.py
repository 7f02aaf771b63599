"""The user's end of a lease: an open connection to the supervisor, which starts where none runs."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from shoplab import errors
from shoplab.errors import LabError, ServerError, SetupError
from shoplab.locks import exclusive
from shoplab.paths import private_directory, socket_directory
from shoplab.stack.wire import VERSION
from shoplab.waiting import announced

LAUNCH_TIMEOUT = 60.0


def socket_path(home: Path) -> Path:
    """Where the supervisor of ``home`` listens."""
    return socket_directory(home) / "supervisor"


class Lease:
    """One connection to the supervisor of a home. While it is open, the servers run.

    Threads may share it: requests wait for each other. A forked child may not: its copy is closed
    at once, so that a child that lives on does not keep the servers running.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rw")
        self._lock = threading.Lock()
        self._ids = itertools.count()
        self._pid = os.getpid()
        _open_leases.add(self)

    def request(
        self, do: str, waiting_for: str = "Waiting for the local servers ...", **details: Any
    ) -> Any:
        """Ask the supervisor; returns its result or raises the ``LabError`` that it met.

        ``waiting_for`` says, on stderr, what takes longer than two seconds.
        """
        if os.getpid() != self._pid:
            raise ServerError(
                "This connection to the local servers belongs to the process that opened it.",
                next_step="open a new one here: `connect()`, or pass plain settings instead",
            )
        with self._lock, announced(waiting_for):
            try:
                message = self._converse({"id": next(self._ids), "do": do, **details})
            except (OSError, ValueError):  # ValueError: we closed it ourselves
                message = None
        if message is None:
            raise ServerError(
                "The supervisor of the local servers has gone (`shoplab down`, or it was killed).",
                next_step="restart the kernel and run all cells; servers start with it",
            )
        if "error" in message:
            raise _as_error(message["error"])
        return message["result"]

    def _converse(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to this request; None at the conversation's end."""
        self._stream.write(json.dumps(request) + "\n")
        self._stream.flush()
        for line in iter(self._stream.readline, ""):
            message: dict[str, Any] = json.loads(line)
            if message["id"] == request["id"]:  # else the answer to what Ctrl+C interrupted
                return message
        return None

    def close(self) -> None:
        """End the lease. Safe to repeat."""
        _open_leases.discard(self)
        self._connection.close()
        with suppress(OSError):  # the other end went first
            self._stream.close()


_open_leases: weakref.WeakSet[Lease] = weakref.WeakSet()


def _close_in_child() -> None:
    for lease in list(_open_leases):
        os.close(lease._connection.detach())


os.register_at_fork(after_in_child=_close_in_child)


def open_lease(home: Path, start: bool = True) -> Lease | None:
    """A lease on the servers of ``home``; starts a supervisor if none runs, unless told not to."""
    try:
        lease = _connect(home)
        if lease is not None or not start:
            return lease
        private_directory(home)
        with exclusive(home / "start.lock", LAUNCH_TIMEOUT):
            lease = _connect(home)  # another user may have started one meanwhile
            if lease is None:
                _launch(home)
                lease = _connect(home)
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


def _connect(home: Path) -> Lease | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(socket_path(home)))
        lease = Lease(connection)
        hello = lease._stream.readline()
    except (ConnectionError, FileNotFoundError):
        connection.close()
        return None
    if not hello:  # it was about to go
        lease.close()
        return None
    version = json.loads(hello)["version"]
    if version != VERSION:
        lease.close()
        raise ServerError(
            f"Another version of shoplab started the local servers ({version}, not {VERSION}).",
            next_step=f"end that supervisor: kill {json.loads(hello)['pid']}",
        )
    return lease


def _launch(home: Path) -> None:
    """Start a supervisor; returns when it can be reached."""
    try:
        launched = subprocess.run(
            [sys.executable, "-P", "-m", "shoplab.stack.supervisor", "--home", str(home)],
            stdin=subprocess.DEVNULL,
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


def _as_error(fields: dict[str, Any]) -> LabError:
    kind = getattr(errors, fields["class"], LabError)
    log = Path(fields["log"]) if fields["log"] else None
    error: LabError = kind(fields["what"], next_step=fields["next_step"], log=log)
    return error
