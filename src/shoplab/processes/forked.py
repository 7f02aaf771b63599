"""The parent's end of the fork server: ask for a child, and hold it though it is not our own.

Only a process's parent can await it, and the parent here is the server. So the server tells of each
child over a socket of the child's own: first its number, with a file descriptor of the process (a
signal sent by that can reach no other that has its number later), and in the end its exit status.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import IO

from shoplab.processes.libraries import LIBRARIES

PATIENCE = 30.0
"""Seconds within which a server answers, which may have to load its libraries first."""


class ForkServer:
    """A process that forks a child for each request, and ends with this one, however it ends."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: socket.socket,
        environment: Mapping[str, str],
    ) -> None:
        self.environment = environment
        self._process = process
        self._connection = connection

    @staticmethod
    def connection() -> tuple[socket.socket, socket.socket]:
        """Our end and the server's; a message arrives whole or not at all."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fork(
        self,
        log: int,
        inherited: Sequence[int],
        environment: Mapping[str, str],
        libraries: Sequence[str],
    ) -> Forked:
        """A new child; ``OSError`` where the server is gone or does not answer."""
        with ExitStack() as undone:
            ours, theirs = socket.socketpair()
            undone.enter_context(ours)
            with theirs:
                socket.send_fds(self._connection, [b"?"], [theirs.fileno()])
            order, lifeline = os.pipe()
            stdin = undone.enter_context(os.fdopen(lifeline, "wb"))
            with ExitStack() as sent:
                sent.callback(os.close, order)
                here = os.open(".", os.O_PATH)  # it may have no name any more
                sent.callback(os.close, here)
                request = {
                    "numbers": [0, 1, 2, *inherited],
                    "environment": dict(environment),
                    "libraries": [*(n for n in LIBRARIES if n in sys.modules), *libraries],
                }
                ours.settimeout(PATIENCE)
                data = json.dumps(request).encode() + b"\n"
                length = socket.send_fds(ours, [data], [here, order, log, log, *inherited])
                ours.sendall(data[length:])
            answer, pidfds, *_ = socket.recv_fds(ours, 32, 1)
            if not pidfds:
                raise ConnectionResetError
            undone.pop_all()
        return Forked(int(answer), pidfds[0], stdin, ours)

    def close(self) -> None:
        """End the server. Safe to repeat."""
        self.forget()
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Close our end, which ends the server unless somebody else has it too."""
        self._connection.close()


class Forked:
    """A child of the fork server, as ``spawn.Child`` says."""

    def __init__(self, pid: int, pidfd: int, stdin: IO[bytes], server: socket.socket) -> None:
        self.pid = pid
        self.stdin: IO[bytes] | None = stdin
        self._pidfd = pidfd
        self._server = server
        self._status: int | None = None
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, os.close, pidfd)
        self._close.atexit = False  # whoever holds the child ends it at the exit, by that number

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        with self._lock:
            if self._status is None and _readable(self._server.fileno(), 0):
                self._status = self._told()
                self._server.close()
                self._close()
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. ``subprocess.TimeoutExpired`` after ``timeout`` seconds."""
        if self._status is None:
            _readable(self._server.fileno(), timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return status

    def terminate(self) -> None:
        """Send it SIGTERM, unless it has ended."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send it any signal, unless it has ended."""
        with self._lock, suppress(ProcessLookupError):
            if self._status is None:
                signal.pidfd_send_signal(self._pidfd, number)

    def _told(self) -> int:
        """What the server says; a child whose server has died has nobody to tell of its end."""
        with suppress(ConnectionResetError):
            if said := self._server.recv(32):
                return int(said)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        _readable(self._pidfd, None)
        return -signal.SIGKILL


def _readable(descriptor: int, timeout: float | None) -> bool:
    """Whether there is something to read within ``timeout`` seconds; ``select`` has a limit."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))
