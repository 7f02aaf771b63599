"""Servers that exist elsewhere, named by environment variables: used, never started or stopped.

| variable | names |
| --- | --- |
| ``KAFKA_BOOTSTRAP_SERVERS`` | Kafka, as ``host:port,host:port`` |
| ``KAFKA_SECURITY_PROTOCOL``, ``KAFKA_SASL_MECHANISM``, ``KAFKA_SASL_USERNAME``, \
``KAFKA_SASL_PASSWORD``, ``KAFKA_SSL_CAFILE`` | how to log in to it |
| ``REDIS_URL`` | Redis, as ``redis://:password@host:port/0`` |
| ``DATABASE_URL`` | PostgreSQL, as ``postgresql://user:password@host:port/database`` |
| ``RABBITMQ_URL`` | RabbitMQ, as ``amqp://user:password@host:port/vhost`` |

Each is checked by a round trip before its first use.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from typing import Any

from shoplab.errors import ServerError

DEADLINE = 5.0
"""Seconds a server may take to answer the round trip."""

VARIABLES = {
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "redis": "REDIS_URL",
    "postgres": "DATABASE_URL",
    "rabbitmq": "RABBITMQ_URL",
}

KAFKA_OPTIONS = {
    "KAFKA_SECURITY_PROTOCOL": "security_protocol",
    "KAFKA_SASL_MECHANISM": "sasl_mechanism",
    "KAFKA_SASL_USERNAME": "sasl_plain_username",
    "KAFKA_SASL_PASSWORD": "sasl_plain_password",
    "KAFKA_SSL_CAFILE": "ssl_cafile",
}


def named(kind: str) -> bool:
    """Whether a variable names an external server of this kind."""
    return bool(os.environ.get(VARIABLES[kind]))


def settings(kind: str) -> dict[str, Any]:
    """A client's settings for the external server of this kind; empty where none is named.

    Raises ``ServerError`` if the server does not answer, or refuses us, within the deadline.
    """
    address = os.environ.get(VARIABLES[kind])
    if not address:
        return {}
    look = {"kafka": _kafka, "redis": _redis, "postgres": _postgres, "rabbitmq": _rabbitmq}
    return look[kind](address)


def masked(address: str) -> str:
    """The address without its password."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", address)


def _kafka(address: str) -> dict[str, Any]:
    options = {name: os.environ.get(variable) for variable, name in KAFKA_OPTIONS.items()}
    settings = {"bootstrap_servers": address} | {k: v for k, v in options.items() if v}
    # A port first, since a constructor of kafka-python that fails leaves a thread behind, and
    # gives the same time-out for a wrong address as for a wrong password.
    if not any(_listens(server) for server in address.split(",")):
        raise _unusable("kafka", address, "nobody listens there")
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    from shoplab.servers.kafka.coordinators import await_coordinators

    limits = {"bootstrap_timeout_ms": DEADLINE * 1000, "request_timeout_ms": DEADLINE * 1000}
    try:
        admin = KafkaAdminClient(**settings, **limits)
        try:
            admin.describe_cluster()
            await_coordinators(admin, DEADLINE)
        finally:
            admin.close()
    except (KafkaError, OSError, ValueError) as error:
        protocol = settings.get("security_protocol", "PLAINTEXT")
        reason = f"no Kafka lets us in with {protocol} and these credentials"
        raise _unusable("kafka", address, reason) from error
    return settings


def _listens(server: str) -> bool:
    host, _, port = server.strip().rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=DEADLINE):
            return True
    except (OSError, ValueError):
        return False


def _redis(address: str) -> dict[str, Any]:
    import redis

    try:
        client = redis.Redis.from_url(
            address, socket_timeout=DEADLINE, socket_connect_timeout=DEADLINE
        )
        with client:
            client.set("shoplab:ready", "1", ex=1)
            client.get("shoplab:ready")
    except (redis.RedisError, OSError, ValueError) as error:
        raise _unusable("redis", address, _first_line(error)) from error
    return {"url": address}


def _postgres(address: str) -> dict[str, Any]:
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    try:
        url = sqlalchemy.make_url(address)
        if url.get_backend_name() not in ("postgresql", "postgres"):
            raise ValueError("it does not begin with postgresql://")
        url = url.set(drivername="postgresql+psycopg")
        engine = sqlalchemy.create_engine(url, connect_args={"connect_timeout": int(DEADLINE)})
        try:
            with engine.connect() as connection:
                connection.execute(sqlalchemy.text("CREATE TEMPORARY TABLE shoplab_ready (a int)"))
                connection.rollback()
        finally:
            engine.dispose()
    except (SQLAlchemyError, OSError, ValueError) as error:
        cause = getattr(error, "orig", None) or error
        raise _unusable("postgres", address, _first_line(cause)) from None
    return {"url": url.render_as_string(hide_password=False)}


def _rabbitmq(address: str) -> dict[str, Any]:
    import pika
    from pika.adapters.utils.connection_workflow import AMQPConnectorException

    # It reports each refused connection several times; ours is one sentence.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    try:
        parameters = pika.URLParameters(address)
        parameters.connection_attempts = 1
        parameters.socket_timeout = parameters.stack_timeout = DEADLINE
        with pika.BlockingConnection(parameters) as connection:
            connection.channel()
    except (pika.exceptions.AMQPError, AMQPConnectorException, OSError, ValueError) as error:
        raise _unusable("rabbitmq", address, _first_line(error)) from error
    return {"url": address}


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or repr(error)
    return masked(text.splitlines()[0]).rstrip(".")


def _unusable(kind: str, address: str, reason: str) -> ServerError:
    variable = VARIABLES[kind]
    return ServerError(
        f"The server of {variable} ({masked(address)}) cannot be used: {reason}.",
        next_step=f"correct {variable}, or unset it to use a local server",
    )
