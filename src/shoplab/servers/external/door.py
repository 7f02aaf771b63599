"""What the checks at the door share: how long one may take, and how a refusal is worded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from shoplab.errors import ServerError

DEADLINE = 5.0
"""Seconds a server may take to answer."""

VARIABLES = {
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "redis": "REDIS_URL",
    "postgres": "DATABASE_URL",
    "rabbitmq": "RABBITMQ_URL",
}
"""What names a server, by its kind."""

KAFKA_OPTIONS = {
    "KAFKA_SECURITY_PROTOCOL": "security_protocol",
    "KAFKA_SASL_MECHANISM": "sasl_mechanism",
    "KAFKA_SASL_USERNAME": "sasl_plain_username",
    "KAFKA_SASL_PASSWORD": "sasl_plain_password",
    "KAFKA_SSL_CAFILE": "ssl_cafile",
}
"""What else says how to use a Kafka, and the setting of ``kafka-python`` that it becomes."""


class Meaning(NamedTuple):
    """What a server or its client says, what that means here, and what to do.

    An empty ``reason`` leaves their own words, which are clear.
    """

    said: str
    reason: str
    next_step: str


def masked(address: str) -> str:
    """The address without its password."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", address)


def refusal(kind: str, address: str, reason: str, next_step: str = "") -> ServerError:
    """The error that refuses a server: why, and what to do about it."""
    variable = VARIABLES[kind]
    step = f"{next_step}, or unset {variable}" if next_step else f"correct {variable}, or unset it"
    return ServerError(
        f"The server of {variable} ({masked(address)}) cannot be used: {reason}.",
        next_step=f"{step} to use a local server",
    )


def explained(
    kind: str, address: str, error: BaseException, meanings: Sequence[Meaning]
) -> ServerError:
    """The refusal for what a client has raised, by the first of ``meanings`` that it matches."""
    if _has_bare_letters(address):
        # Clients take such a password apart, and then quote parts of it in their errors.
        return refusal(
            kind,
            address,
            "its user or password holds a letter that has a meaning in addresses",
            "write @ as %40, / as %2F, : as %3A, # as %23 and ? as %3F in it",
        )
    words = str(error).strip() or repr(error)
    for said, reason, next_step in meanings:
        if said in f"{type(error).__name__}: {words}":
            return refusal(kind, address, reason or _first_line(words), next_step)
    return refusal(kind, address, _first_line(words))


def _has_bare_letters(address: str) -> bool:
    user, at, _ = address.partition("://")[2].rpartition("@")
    return bool(at) and bool(re.search(r"[@/?#]|:.*:", user))


def _first_line(words: str) -> str:
    without_place = re.sub(r" \(_ssl\.c:\d+\)", "", words.splitlines()[0])
    return masked(without_place).rstrip(".")
