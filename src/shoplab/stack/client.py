"""Live local servers: Kafka, Redis and PostgreSQL, started on first use and shared by every user.

    with Stack() as stack:
        KafkaProducer(**stack.kafka)
        redis.Redis.from_url(stack.redis_url)
        sqlalchemy.create_engine(stack.database_url)

Where ``KAFKA_BOOTSTRAP_SERVERS``, ``REDIS_URL`` or ``DATABASE_URL`` is set, that server is used
instead; it is never started, stopped or wiped.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from shoplab.errors import ServerError
from shoplab.paths import home_directory
from shoplab.servers import external
from shoplab.servers.rabbitmq import installed
from shoplab.stack.lease import Lease, open_lease


class Stack:
    """A user's view of the servers. Its lease opens with the first use of a local server."""

    def __init__(self, home: Path | None = None) -> None:
        self._home = home
        self._lease: Lease | None = None
        self._lock = threading.Lock()
        self._external: dict[str, dict[str, Any]] = {}

    @property
    def kafka(self) -> dict[str, Any]:
        """Settings of a ``kafka-python`` client: ``KafkaProducer(**stack.kafka)``."""
        return self.use("kafka")

    @property
    def redis_url(self) -> str:
        """For ``redis.Redis.from_url``."""
        return str(self.use("redis")["url"])

    @property
    def database_url(self) -> str:
        """For ``sqlalchemy.create_engine``, with the driver psycopg."""
        return str(self.use("postgres")["url"])

    def use(self, kind: str) -> dict[str, Any]:
        """A client's settings for the server of this kind ("kafka", "redis" or "postgres")."""
        if kind not in self._external:
            self._external[kind] = external.settings(kind)
        settings: dict[str, Any] = self._external[kind] or self._open().request(
            "server", f"Starting {kind} ...", kind=kind
        )
        return dict(settings)

    @property
    def rabbitmq_url(self) -> str | None:
        """For ``pika.URLParameters``: of ``RABBITMQ_URL``, or of one started here.

        None where neither is: no package registry of ours has a RabbitMQ.
        """
        elsewhere = external.settings("rabbitmq")
        if elsewhere:
            return str(elsewhere["url"])
        return self.private("rabbitmq").url if installed() else None

    def cluster(self, brokers: int = 3) -> PrivateCluster:
        """A Kafka cluster of one's own, to break; it ends with this stack at the latest."""
        made = self._open().request(
            "cluster", f"Starting {brokers} Kafka brokers ...", brokers=brokers
        )
        return PrivateCluster(self._open(), made)

    def private(self, kind: str, **options: Any) -> PrivateServer:
        """A server of one's own ("postgres", "rabbitmq"); it ends with this stack at the latest."""
        made = self._open().request("private", f"Starting {kind} ...", kind=kind, options=options)
        return PrivateServer(self._open(), made)

    def status(self) -> dict[str, Any] | None:
        """What runs (see ``Supervisor.status``); None where nothing does. Starts nothing."""
        lease = self._lease or open_lease(self._home or home_directory(), start=False)
        if lease is None:
            return None
        try:
            status: dict[str, Any] = lease.request("status")
        finally:
            if lease is not self._lease:
                lease.close()
        return status

    def pin(self) -> None:
        """Keep the servers running without any user, until ``shoplab down``."""
        self._open().request("pin")

    def close(self) -> None:
        """End the lease. Private clusters end now, the shared servers after the grace."""
        with self._lock:
            if self._lease is not None:
                self._lease.close()
                self._lease = None

    def __enter__(self) -> Stack:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the lease."""
        self.close()

    def _open(self) -> Lease:
        with self._lock:
            if self._lease is None:
                self._lease = open_lease(self._home or home_directory())
            assert self._lease is not None
            return self._lease


class PrivateCluster:
    """A private Kafka cluster: ``kafka`` for clients, and the power to break each broker."""

    def __init__(self, lease: Lease, made: dict[str, Any]) -> None:
        self._lease = lease
        self._name = made["cluster"]
        self.kafka: dict[str, Any] = made["kafka"]
        self.brokers: list[int] = made["brokers"]

    def kill(self, broker: int) -> None:
        """End a broker by SIGKILL, as a crash does."""
        self._act("kill", broker)

    def restart(self, broker: int) -> None:
        """Bring a broker back on its data and ports; returns when it serves."""
        self._act("restart", broker)

    def pid(self, broker: int) -> int | None:
        """The broker's process number while it runs, else None."""
        return self._act("pid", broker)

    def alive(self, broker: int) -> bool:
        """Whether the broker runs."""
        return self.pid(broker) is not None

    def stop(self) -> None:
        """Stop the cluster and remove its data. Safe to repeat."""
        self._lease.request("stop", "Stopping a Kafka cluster ...", name=self._name)
        self.brokers = []

    def _act(self, action: str, broker: int) -> int | None:
        if broker not in self.brokers:
            raise ServerError(
                f"This cluster has no broker {broker}; it has {self.brokers or 'been stopped'}.",
                next_step="name one of its brokers",
            )
        pid: int | None = self._lease.request(
            "broker",
            f"Waiting for Kafka's broker {broker} ...",
            cluster=self._name,
            id=broker,
            action=action,
        )
        return pid


class PrivateServer:
    """A server of one's own: ``url`` for its client, ``program`` for people."""

    def __init__(self, lease: Lease, made: dict[str, Any]) -> None:
        self._lease = lease
        self._name = made["name"]
        self.url: str = made["settings"]["url"]
        self.program: str = made["program"]

    def stop(self) -> None:
        """Stop the server and remove its data. Safe to repeat."""
        self._lease.request("stop", f"Stopping {self.program} ...", name=self._name)
