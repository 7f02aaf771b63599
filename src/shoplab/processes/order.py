"""What a parent tells its child through the pipe: a line of JSON (the order), then the call."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import IO


@dataclass(frozen=True)
class Limits:
    """How much a service takes on.

    ``threads`` run its synchronous endpoints, ``backlog`` connections wait to be accepted, and from
    ``limit_concurrency`` connections and requests on it answers 503.
    """

    threads: int
    backlog: int
    limit_concurrency: int | None


@dataclass(frozen=True)
class Serving:
    """Where a service is to answer, and within which limits.

    The child inherits two file descriptors: ``listener``, a bound socket, and ``ready``, a pipe
    into which it writes a byte when it answers.
    """

    listener: int
    ready: int
    limits: Limits


@dataclass(frozen=True)
class Order:
    """How the call that follows is to be carried out.

    ``path`` is for ``sys.path``; ``source`` are the file name and the lines of the function, for
    tracebacks; ``spans`` is the directory for them, None where none are recorded. A service has
    ``serving``; a worker writes what its function returns to ``result``.
    """

    name: str
    path: list[str]
    source: tuple[str, list[str]] | None
    spans: str | None
    serving: Serving | None = None
    result: str | None = None


def send(stream: IO[bytes], order: Order, call: bytes) -> None:
    """Write the order and the bytes of the call."""
    head = asdict(order) | {"call_bytes": len(call)}
    stream.write(json.dumps(head).encode() + b"\n" + call)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[Order, bytes]:
    """Read what ``send`` wrote; ``EOFError`` where it has not written all."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    size = head.pop("call_bytes")
    call = stream.read(size)
    if len(call) < size:
        raise EOFError
    if serving := head["serving"]:
        head["serving"] = Serving(**serving | {"limits": Limits(**serving["limits"])})
    return Order(**head), call
