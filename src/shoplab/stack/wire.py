"""What a user and the supervisor say to each other: one JSON object a line, over a Unix socket.

The supervisor speaks first and says who it is (``Hello``). After that every request gets one
answer, in turn: ``{"id": 7, "result": ...}``, or ``{"id": 7, "error": {...}}`` with a ``LabError``
in it. A connection that ends says that its user has left, or that the supervisor has.

| request | what it asks for | result |
| --- | --- | --- |
| ``UseShared`` | a server that all users share, started where none runs | its settings |
| ``StartPrivate`` | a server or a cluster of one's own | ``Private`` |
| ``Act`` | kill, restart, halt or resume one of these, or ask for its pid | the pid |
| ``StopPrivate`` | the end of a server or cluster of one's own | nothing |
| ``Status`` | what runs | ``StatusReport`` |
| ``Pin`` | that the servers stay without users | nothing |
| ``Down`` | the end of everything, whoever uses it | nothing |

A new request is a class here and a ``case`` in ``supervisor.Tenant``.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypedDict, TypeVar

from shoplab import errors
from shoplab.errors import LabError, ServerError
from shoplab.servers.server import Settings

VERSION = 3
"""Of this conversation; a supervisor of another version is not understood."""

BLOCK = 1 << 16
"""Bytes that one read takes at most."""

Result = TypeVar("Result")


class Hello(TypedDict):
    """The supervisor's first words. ``network`` is where its servers can be reached."""

    version: int
    pid: int
    network: str


class Private(TypedDict):
    """A server or cluster of one's own that has started; ``members`` are the servers in it."""

    name: str
    program: str
    settings: Settings
    members: list[int]


class ServerReport(TypedDict, total=False):
    """A shared server: its state and log, and what is known of it while it runs."""

    state: str
    log: str | None
    program: str
    pids: list[int]
    settings: Settings
    memory_mb: float


class SupervisorReport(TypedDict):
    """The supervisor itself."""

    pid: int
    memory_mb: float


class StatusReport(TypedDict):
    """What runs. ``leases`` counts the users, but for the one who asks."""

    supervisor: SupervisorReport
    home: str
    grace_s: float
    pinned: bool
    leases: int
    private: int
    servers: dict[str, ServerReport]


@dataclass(frozen=True)
class Request(Generic[Result]):
    """One of the requests below; ``Result`` is what the supervisor answers it with."""


@dataclass(frozen=True)
class UseShared(Request[Settings]):
    """A client's settings for the one server of this kind that all users share."""

    kind: str


@dataclass(frozen=True)
class StartPrivate(Request[Private]):
    """A server or cluster of the user's own; ``options`` are its constructor's."""

    kind: str
    options: dict[str, Any]


Action = Literal["pid", "kill", "restart", "halt", "resume"]


@dataclass(frozen=True)
class Act(Request[int | None]):
    """Do something to member ``number`` of the user's own server or cluster ``name``."""

    name: str
    number: int
    action: Action


@dataclass(frozen=True)
class StopPrivate(Request[None]):
    """The end of the user's own server or cluster ``name``."""

    name: str


@dataclass(frozen=True)
class Status(Request[StatusReport]):
    """What runs."""


@dataclass(frozen=True)
class Pin(Request[None]):
    """Keep the servers running without any user."""


@dataclass(frozen=True)
class Down(Request[None]):
    """Stop everything, whoever uses it."""


REQUESTS: dict[str, type[Request[Any]]] = {
    kind.__name__: kind for kind in (UseShared, StartPrivate, Act, StopPrivate, Status, Pin, Down)
}


class Channel:
    """One end of a conversation: sends and receives whole messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._read = b""

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; raises ``OSError`` where the other end has gone."""
        self.connection.settimeout(None)
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next message; None when the other end has gone.

        Raises ``TimeoutError`` after ``timeout`` seconds; what has come by then is kept.
        """
        self.connection.settimeout(timeout)
        while b"\n" not in self._read:
            try:
                received = self.connection.recv(BLOCK)
            except (ConnectionError, ValueError):  # ValueError: we closed it ourselves
                received = b""
            if not received:
                return None
            self._read += received
        line, _, self._read = self._read.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def forget(self) -> None:
        """Drop what has come so far: answers to nobody."""
        self._read = b""


def asked(number: int, request: Request[Any]) -> dict[str, Any]:
    """The message of a request."""
    return {"id": number, "do": type(request).__name__, "with": asdict(request)}


def request_of(message: Mapping[str, Any]) -> Request[Any]:
    """The request in a message; raises ``ServerError`` for one that nobody here knows."""
    try:
        return REQUESTS[message["do"]](**message["with"])
    except (KeyError, TypeError) as error:
        raise ServerError(
            f"The supervisor does not know the request {message}.",
            next_step="run `shoplab down`: another version of shoplab started it",
        ) from error


def refusal(error: LabError) -> dict[str, Any]:
    """An error as the fields of a message."""
    return {
        "class": type(error).__name__,
        "what": error.what,
        "next_step": error.next_step,
        "log": str(error.log) if error.log else None,
    }


def refused(fields: Mapping[str, Any]) -> LabError:
    """The error in a message; every class of them is in ``shoplab.errors``."""
    kind: type[LabError] = getattr(errors, fields["class"], LabError)
    log = Path(fields["log"]) if fields["log"] else None
    return kind(fields["what"], next_step=fields["next_step"], log=log)


def network() -> str:
    """The network this process is in: 127.0.0.1 is another machine in another container."""
    try:
        return str(Path("/proc/self/ns/net").readlink())
    except OSError:  # no Linux, no containers
        return "the only one"
