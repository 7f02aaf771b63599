"""Real servers for the tests of any project: ``pytest_plugins = ["shoplab.pytest_plugin"]``.

    def test_an_order_is_kept(servers):
        engine = sqlalchemy.create_engine(servers.database_url)

Where a Docker engine answers, they are containers of Testcontainers; where none does, the servers
of the laboratory, which need none. ``--servers=containers`` or ``--servers=embedded`` insists on
one. Servers that ``KAFKA_BOOTSTRAP_SERVERS``, ``REDIS_URL`` or ``DATABASE_URL`` names come first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import Any, Protocol
from uuid import uuid4

import pytest

from shoplab.servers import external
from shoplab.stack import Stack

IMAGES = {"kafka": "confluentinc/cp-kafka:7.6.0", "redis": "redis:8", "postgres": "postgres:18"}
"""What the containers are made of. Testcontainers' Kafka knows the scripts of Confluent's images,
and no others; this one is Kafka 3.6."""


class Servers(Protocol):
    """Real servers, each of which starts when its address is first asked for.

    The database is empty and this session's own. Others may use the same Kafka and Redis: give
    topics, groups and keys names of your own.
    """

    @property
    def kafka(self) -> dict[str, Any]:
        """Settings of a Kafka client: ``KafkaProducer(**servers.kafka)``."""

    @property
    def redis_url(self) -> str:
        """The address for ``redis.Redis.from_url``."""

    @property
    def database_url(self) -> str:
        """The address for ``psycopg.connect`` or ``sqlalchemy.create_engine``."""


class Embedded:
    """``Servers`` without containers: they belong to the user's account, and outlive the tests."""

    def __init__(self, ends: ExitStack) -> None:
        self._ends = ends
        self._stack = ends.enter_context(Stack())

    @property
    def kafka(self) -> dict[str, Any]:
        """See ``Servers``."""
        return self._stack.kafka

    @property
    def redis_url(self) -> str:
        """See ``Servers``."""
        return self._stack.redis_url

    @cached_property
    def database_url(self) -> str:
        """See ``Servers``."""
        from shoplab.schema import Schema  # SQLAlchemy takes half a second; few runs need it

        schema = Schema(f"tests_{uuid4().hex[:12]}", self._stack.database_url)
        self._ends.callback(schema.drop)
        return schema.url.replace("+psycopg", "", 1)


class Containers:
    """``Servers`` in containers, which end with the tests."""

    def __init__(self, ends: ExitStack) -> None:
        self._ends = ends

    @cached_property
    def kafka(self) -> dict[str, Any]:
        """See ``Servers``."""
        from testcontainers.community.kafka import KafkaContainer

        kafka = KafkaContainer(IMAGES["kafka"]).with_kraft()
        # one broker has no others to keep the state of transactions on
        kafka.with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
        kafka.with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
        return {"bootstrap_servers": self._ends.enter_context(kafka).get_bootstrap_server()}

    @cached_property
    def redis_url(self) -> str:
        """See ``Servers``."""
        from testcontainers.community.redis import RedisContainer

        redis = self._ends.enter_context(RedisContainer(IMAGES["redis"]))
        return f"redis://{redis.get_container_host_ip()}:{redis.get_exposed_port(redis.port)}/0"

    @cached_property
    def database_url(self) -> str:
        """See ``Servers``."""
        from testcontainers.community.postgres import PostgresContainer

        postgres = self._ends.enter_context(PostgresContainer(IMAGES["postgres"], driver=None))
        return postgres.get_connection_url()


def an_engine_answers() -> bool:
    """Whether there is a Docker engine that we may use."""
    from testcontainers.core.docker_client import DockerClient

    try:
        return bool(DockerClient().client.ping())
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it does not answer
        return False


def servers_of(choice: str, ends: ExitStack) -> Servers:
    """The servers of a ``choice``, *auto*, *containers* or *embedded*; ``ends`` ends them."""
    if choice == "auto":
        # what variables name, the stack finds
        elsewhere = any(external.named(kind) for kind in IMAGES)
        choice = "containers" if not elsewhere and an_engine_answers() else "embedded"
    return Containers(ends) if choice == "containers" else Embedded(ends)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer ``--servers``."""
    parser.addoption(
        "--servers",
        choices=["auto", "containers", "embedded"],
        default="auto",
        help="what the fixture `servers` starts: containers, the laboratory's embedded servers, or "
        "containers where a Docker engine answers (default)",
    )


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Iterator[Servers]:
    """Addresses of a real Kafka, Redis and PostgreSQL."""
    with ExitStack() as ends:
        yield servers_of(pytestconfig.getoption("servers"), ends)
