"""Servers that exist elsewhere, named by environment variables: used, never started or stopped.

| variable | names |
| --- | --- |
| ``KAFKA_BOOTSTRAP_SERVERS`` | Kafka, as ``host:port,host:port`` |
| ``KAFKA_SECURITY_PROTOCOL``, ``KAFKA_SASL_MECHANISM``, ``KAFKA_SASL_USERNAME``, \
``KAFKA_SASL_PASSWORD``, ``KAFKA_SSL_CAFILE`` | how to log in to it |
| ``REDIS_URL`` | Redis, as ``redis://default:password@host:port/0`` |
| ``DATABASE_URL`` | PostgreSQL, as ``postgresql://user:password@host:port/database`` |
| ``RABBITMQ_URL`` | RabbitMQ, as ``amqp://user:password@host:port/vhost`` |

Before its first use each is asked, at the door, to do once what notebooks will ask of it. One that
cannot is refused there in a sentence, and not in the middle of a notebook.
"""

from __future__ import annotations

import os
from importlib import import_module

from shoplab.servers.external.door import KAFKA_OPTIONS, VARIABLES, masked

__all__ = ["KAFKA_OPTIONS", "VARIABLES", "masked", "named", "settings"]


def named(kind: str) -> bool:
    """Whether a variable names an external server of this kind."""
    return bool(os.environ.get(VARIABLES[kind]))


def settings(kind: str) -> dict[str, str]:
    """A client's settings for the external server of this kind; empty where none is named.

    Raises ``ServerError`` if the server does not answer within the deadline, refuses us, or cannot
    do what the notebooks ask of it.
    """
    address = os.environ.get(VARIABLES[kind])
    if not address:
        return {}
    # Imported here: a notebook pays for the clients that it uses.
    checked: dict[str, str] = import_module(f"shoplab.servers.external.{kind}").settings(address)
    return checked
