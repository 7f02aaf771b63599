"""What a user of the servers holds: the shared ones, and servers of one's own to break.

Where ``KAFKA_BOOTSTRAP_SERVERS``, ``REDIS_URL`` or ``DATABASE_URL`` is set, that server is used
instead of a local one; it is never started, stopped or wiped.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from shoplab.errors import ServerError
from shoplab.paths import home_directory
from shoplab.servers import external
from shoplab.servers.rabbitmq import installed
from shoplab.servers.server import Settings
from shoplab.stack.lease import Lease, find_lease, open_lease
from shoplab.stack.wire import (
    Act,
    Action,
    Pin,
    Private,
    ServerReport,
    StartPrivate,
    Status,
    StatusReport,
    StopPrivate,
    UseShared,
)


class Stack:
    """A user's view of the servers of ``home`` (default: of this environment).

    Nothing starts before its first use; with it the lease opens.
    """

    def __init__(self, home: Path | None = None) -> None:
        self._home = home
        self._lease: Lease | None = None
        self._lock = threading.Lock()
        self._external: dict[str, Settings] = {}
        self._used: set[str] = set()
        self._rabbitmq: PrivateServer | None = None

    @property
    def kafka(self) -> Settings:
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

    def use(self, kind: str) -> Settings:
        """A client's settings for the server of this kind ("kafka", "redis" or "postgres")."""
        if kind not in self._external:
            self._external[kind] = external.settings(kind)
        if self._external[kind]:
            return dict(self._external[kind])
        self._used.add(kind)
        return self._open().request(UseShared(kind), f"Starting {kind} ...")

    @property
    def rabbitmq_url(self) -> str | None:
        """For ``pika.URLParameters``: of ``RABBITMQ_URL``, or of one started here.

        None where neither is: no package registry of ours has a RabbitMQ.
        """
        elsewhere = external.settings("rabbitmq")
        if elsewhere:
            return str(elsewhere["url"])
        if self._rabbitmq is None and installed():
            self._rabbitmq = self.private("rabbitmq")
        return self._rabbitmq.url if self._rabbitmq is not None else None

    def cluster(self, brokers: int = 3) -> PrivateCluster:
        """A Kafka cluster of one's own, to break: one broker or three.

        It ends with this stack at the latest.
        """
        if brokers not in (1, 3):
            raise ServerError(
                f"A cluster has one broker or three, not {brokers}.",
                next_step="ask for cluster(1) or cluster(3)",
            )
        return PrivateCluster(*self._start("kafka", f"{brokers} Kafka brokers", brokers=brokers))

    def managed(self) -> ManagedServers:
        """Kafka, Redis and PostgreSQL of one's own, as a provider offers them.

        They end with this stack at the latest.
        """
        return ManagedServers(*self._start("managed", "servers with TLS and passwords"))

    def private(self, kind: str, **options: Any) -> PrivateServer:
        """A server of one's own, such as "postgres"; it ends with this stack at the latest."""
        return PrivateServer(*self._start(kind, kind, **options))

    def _start(self, kind: str, what: str, **options: Any) -> tuple[Lease, Private]:
        lease = self._open()
        return lease, lease.request(StartPrivate(kind, options), f"Starting {what} ...")

    def status(self) -> StatusReport | None:
        """What runs; None where nothing does. Starts nothing."""
        lease = self._lease or find_lease(self._home or home_directory())
        if lease is None:
            return None
        try:
            return lease.request(Status())
        finally:
            if lease is not self._lease:
                lease.close()

    def programs(self) -> list[str]:
        """The local servers that this user has used, for people; none where they have gone."""
        servers: dict[str, ServerReport] = {}
        with suppress(ServerError):
            if self._lease is not None:
                servers = self._lease.request(Status())["servers"]
        programs = [
            servers[kind]["program"]
            for kind in sorted(self._used & servers.keys())
            if "program" in servers[kind]
        ]
        if servers and self._rabbitmq is not None:
            programs.append(self._rabbitmq.program)
        return programs

    def pin(self) -> None:
        """Keep the servers running without any user, until ``shoplab down``."""
        self._open().request(Pin())

    def close(self) -> None:
        """End the lease. Servers of one's own end now, the shared ones after the grace."""
        with self._lock:
            if self._lease is not None:
                self._lease.close()
                self._lease = self._rabbitmq = None

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
            return self._lease


class _Own:
    """What a server and a cluster of one's own share: a name that the supervisor knows."""

    def __init__(self, lease: Lease, made: Private) -> None:
        self._lease = lease
        self._name = made["name"]
        self._members = made["members"]
        self.program = made["program"]

    def stop(self) -> None:
        """Stop it and remove its data. Safe to repeat."""
        self._lease.request(StopPrivate(self._name), f"Stopping {self.program} ...")
        self._members = []

    def _act(self, number: int, action: Action) -> int | None:
        if number not in self._members:
            raise ServerError(
                f"{self.program} has no server {number}; it "
                + (f"has {self._members}." if self._members else "has been stopped."),
                next_step="name one that it has, or start another",
            )
        waiting_for = f"Waiting for {self.program} ..."
        return self._lease.request(Act(self._name, number, action), waiting_for)


class PrivateServer(_Own):
    """A server of one's own: ``url`` for its client, ``program`` for people."""

    def __init__(self, lease: Lease, made: Private) -> None:
        super().__init__(lease, made)
        self.url = str(made["settings"]["url"])

    def kill(self) -> None:
        """End the server by SIGKILL, as a crash does."""
        self._act(1, "kill")

    def restart(self) -> None:
        """Bring the server back on its data and address; returns when it serves."""
        self._act(1, "restart")

    def halt(self) -> None:
        """Let the server stand still (SIGSTOP), its connections open; returns when it does."""
        self._act(1, "halt")

    def resume(self) -> None:
        """Let a halted server go on; returns when it does."""
        self._act(1, "resume")

    @property
    def pid(self) -> int | None:
        """The server's process number while it runs, else None."""
        return self._act(1, "pid")

    @property
    def alive(self) -> bool:
        """Whether the server's process is there, halted or not."""
        return self.pid is not None


class ManagedServers(_Own):
    """Servers that want TLS and passwords: ``variables`` point a program at them."""

    def __init__(self, lease: Lease, made: Private) -> None:
        super().__init__(lease, made)
        self.variables = made["settings"]


class PrivateCluster(_Own):
    """A private Kafka cluster: ``kafka`` for clients, and the power to break each broker."""

    def __init__(self, lease: Lease, made: Private) -> None:
        super().__init__(lease, made)
        self.kafka = made["settings"]

    @property
    def brokers(self) -> list[int]:
        """The brokers' numbers; none once the cluster has been stopped."""
        return list(self._members)

    def kill(self, broker: int) -> None:
        """End a broker by SIGKILL, as a crash does."""
        self._act(broker, "kill")

    def restart(self, broker: int) -> None:
        """Bring a broker back on its data and ports; returns when it serves."""
        self._act(broker, "restart")

    def halt(self, broker: int) -> None:
        """Let a broker stand still (SIGSTOP), its connections open; returns when it does."""
        self._act(broker, "halt")

    def resume(self, broker: int) -> None:
        """Let a halted broker go on; returns when it does."""
        self._act(broker, "resume")

    def pid(self, broker: int) -> int | None:
        """The broker's process number while it runs, else None."""
        return self._act(broker, "pid")

    def alive(self, broker: int) -> bool:
        """Whether the broker's process is there, halted or not."""
        return self.pid(broker) is not None
