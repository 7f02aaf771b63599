"""A Redis that exists: asked for the kinds of command that the notebooks use."""

from __future__ import annotations

import secrets
from contextlib import suppress

import redis

from shoplab.servers.external import door
from shoplab.servers.external.door import Meaning, explained

ONE_REDIS = (
    "it is a Redis Cluster, and the notebooks' clients talk to one Redis",
    "name a Redis in REDIS_URL that is not part of a cluster",
)

UNEXPECTED_END = (
    "it ended the connection without an answer",
    "correct REDIS_URL (a server that speaks TLS needs rediss://)",
)

MEANINGS = (
    Meaning(
        "CERTIFICATE_VERIFY_FAILED",
        "",
        "name the file with its authority's certificate: REDIS_URL=rediss://...?ssl_ca_certs=FILE",
    ),
    Meaning(
        "No such file or directory", "", "correct the path in REDIS_URL: a socket's or a file's"
    ),
    Meaning("Connection reset by peer", *UNEXPECTED_END),
    Meaning("Connection closed by server", *UNEXPECTED_END),
    Meaning(
        "Timeout connecting",
        "it does not answer",
        "correct REDIS_URL (rediss:// is for a server that speaks TLS)",
    ),
    Meaning("ClusterCrossSlotError", *ONE_REDIS),
    Meaning("MovedError", *ONE_REDIS),
    Meaning("ClusterDownError", *ONE_REDIS),
    Meaning("ReadOnlyError", "it is a replica, which takes no writes", "name its primary"),
    Meaning("NoPermissionError", "", "name a user who may use all keys, channels and commands"),
    Meaning("OutOfMemoryError", "", "raise its maxmemory, or empty it"),
)


def settings(address: str) -> dict[str, str]:
    """A client's settings for the Redis at ``address``, after a try of what notebooks do."""
    limits = {"socket_timeout": door.DEADLINE, "socket_connect_timeout": door.DEADLINE}
    try:
        with redis.Redis.from_url(address, **limits) as client:
            _try(client)
    except (redis.RedisError, OSError, ValueError) as error:
        raise explained("redis", address, error, MEANINGS) from None
    return {"url": address}


def _try(client: redis.Redis) -> None:
    """Use each kind of thing that notebooks use, under names of our own, and remove it."""
    name = f"shoplab-ready-{secrets.token_hex(3)}"
    text, row, record, log = (f"{name}-{kind}" for kind in ("text", "list", "hash", "stream"))
    client.ping()  # apart: where nobody answers, nothing has to be removed
    try:
        client.set(text, "ready")
        client.rpush(row, "ready")
        client.hset(record, "state", "ready")
        client.xadd(log, {"state": "ready"})
        client.publish(name, "ready")
        client.exists(text, row, record, log)
    finally:
        with suppress(redis.RedisError):
            for key in (text, row, record, log):
                client.delete(key)
