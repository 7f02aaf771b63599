"""The kinds of servers that can be started here, and how each is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shoplab.errors import ServerError
from shoplab.servers.server import Startable

SHARED = ("kafka", "redis", "postgres")
"""The kinds of which one server serves every user of a home."""


def make(kind: str, directory: Path, home: Path, **options: Any) -> Startable:
    """A server of this kind that is not started yet, in a ``directory`` of its own.

    ``options`` are ``brokers`` (one or three) for "kafka" and ``max_connections`` for "postgres".
    Raises ``ServerError`` for a kind or an option that there is not, and ``SetupError`` where
    Kafka has to be set up first and cannot.
    """
    maker = _MAKERS.get(kind)
    if maker is None:
        raise ServerError(
            f"There is no server of the kind {kind!r}.",
            next_step=f"ask for one of {', '.join(_MAKERS)}",
        )
    try:
        call = inspect.signature(maker).bind(directory, home, **options)
    except TypeError as error:
        raise ServerError(
            f"A server of the kind {kind!r} has no such option: {error}.",
            next_step="leave that option out",
        ) from None
    return maker(*call.args, **call.kwargs)


# Each server's module is imported when it is needed: Kafka's client alone takes longer than a Redis
# takes to start.


def _kafka(directory: Path, home: Path, *, brokers: int = 1) -> Startable:
    from shoplab.servers.kafka.cluster import Cluster

    return Cluster(directory, home, brokers)


def _redis(directory: Path, home: Path) -> Startable:
    from shoplab.servers.redis import Redis

    return Redis(directory, home)


def _postgres(directory: Path, home: Path, *, max_connections: int = 0) -> Startable:
    from shoplab.servers.postgres import CONNECTIONS, Postgres

    return Postgres(directory, home, max_connections=max_connections or CONNECTIONS)


def _rabbitmq(directory: Path, home: Path) -> Startable:
    from shoplab.servers.rabbitmq import RabbitMQ

    return RabbitMQ(directory, home)


def _managed(directory: Path, home: Path) -> Startable:
    from shoplab.servers.managed.servers import Managed

    return Managed(directory, home)


_MAKERS: dict[str, Callable[..., Startable]] = {
    "kafka": _kafka,
    "redis": _redis,
    "postgres": _postgres,
    "rabbitmq": _rabbitmq,
    "managed": _managed,
}
