"""A RabbitMQ that exists: asked for a channel in its virtual host."""

from __future__ import annotations

import logging

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from shoplab.servers.external import door
from shoplab.servers.external.door import Meaning, explained

MEANINGS = (
    Meaning("ConnectionRefusedError", "nobody listens there", ""),
    Meaning("Timeout", "it does not answer", ""),
    Meaning("ACCESS_REFUSED", "it refuses this user or password", ""),
    Meaning("NOT_ALLOWED", "", "correct the virtual host at the end of RABBITMQ_URL, often /%2F"),
    Meaning(
        "CERTIFICATE_VERIFY_FAILED",
        "",
        "name the file with its authority's certificate in SSL_CERT_FILE",
    ),
    Meaning("WRONG_VERSION_NUMBER", "it speaks no TLS", "begin RABBITMQ_URL with amqp://"),
)


def settings(address: str) -> dict[str, str]:
    """``url``, for ``pika.URLParameters``, after a try."""
    # It reports each refused connection several times; ours is one sentence.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    try:
        parameters = pika.URLParameters(address)
        parameters.connection_attempts = 1
        parameters.socket_timeout = parameters.stack_timeout = door.DEADLINE
        with pika.BlockingConnection(parameters) as connection:
            connection.channel()
    except (AMQPError, AMQPConnectorException, OSError, ValueError) as error:
        raise explained("rabbitmq", address, error, MEANINGS) from error
    return {"url": address}
