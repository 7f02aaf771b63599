"""Ports of the loopback for servers that must be told theirs before they start."""

from __future__ import annotations

import socket
from random import SystemRandom

from shoplab.errors import ServerError
from shoplab.stack.server import LOOPBACK

#: Below the ranges from which Linux (32768) and macOS (49152) take ports for outgoing connections,
#: so that a server that was killed finds its port free when it comes back.
PORTS = range(20000, 32000)


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
