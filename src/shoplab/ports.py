"""Ports of the loopback: the ones that servers are told, and the ones that services keep."""

from __future__ import annotations

import socket
import sys
from random import SystemRandom

from shoplab.errors import ProcessError, ServerError

LOOPBACK = "127.0.0.1"
"""The only address that anything here listens on; a literal: ``localhost`` may mean ``::1``."""

PORTS = range(20000, 32000)
"""Below the ranges from which Linux (32768) and macOS (49152) take ports for outgoing connections,
so that a server that was killed finds its port free when it comes back."""


def free_ports(count: int) -> list[int]:
    """``count`` different ports of the loopback interface on which nobody listens now."""
    random = SystemRandom()
    found: list[int] = []
    for port in random.sample(PORTS, 1000):
        if len(found) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        found.append(port)
    if len(found) < count:
        raise ServerError(
            f"No free port between {PORTS[0]} and {PORTS[-1]}.",
            next_step="`ss -ltn` (or `netstat -an`) shows which programs listen; stop some",
        )
    return found


class Port:
    """A port on 127.0.0.1, also while no process serves it.

    Between a kill and a restart a caller must be refused, and nobody else may take the port: not
    another program, nor the operating system for an outgoing connection (a client that tries again
    and again could otherwise be connected to itself). A socket that is bound but does not listen
    does both. Linux lets a second socket with ``SO_REUSEADDR`` bind beside it; macOS does not, so
    there the port is only free until the restart takes it again.
    """

    def __init__(self, number: int | None = None) -> None:
        """Take the given port, or one that is free. ``ProcessError`` if it is in use."""
        self._reserved = _bound(number or 0)
        self.number: int = self._reserved.getsockname()[1]
        if sys.platform != "linux":
            self._reserved.close()

    def listener(self) -> socket.socket:
        """A bound socket for the process that will listen on it."""
        return _bound(self.number)

    def release(self) -> None:
        """Give the port back. Safe to repeat."""
        self._reserved.close()


def _bound(number: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, number))
    except OSError as error:
        bound.close()
        raise ProcessError(
            f"Port {number} on 127.0.0.1 cannot be had ({error.strerror}).",
            next_step="leave `port` out, and a free one is chosen",
        ) from error
    return bound
