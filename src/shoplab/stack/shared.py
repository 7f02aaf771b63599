"""A server that every lease shares: started when the first user asks, reported when it dies."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from shoplab.errors import ServerError
from shoplab.servers.postgres import Postgres
from shoplab.servers.rabbitmq import RabbitMQ
from shoplab.servers.redis import Redis
from shoplab.servers.server import Server

if TYPE_CHECKING:
    from shoplab.servers.kafka.cluster import Cluster

KINDS = ("kafka", "redis", "postgres")


def make_cluster(directory: Path, home: Path, brokers: int) -> Cluster:
    """A Kafka cluster that is not started yet, from what set-up has brought (or brings now)."""
    # Kafka's client takes longer to import than Redis to start: only who uses Kafka waits for it.
    from shoplab.servers.kafka.cluster import Cluster

    return Cluster(directory, home, brokers)


def make_private(kind: str, directory: Path, home: Path, options: dict[str, Any]) -> Server:
    """A server for one lease alone, not started yet; ``options`` are its constructor's."""
    if kind == "postgres":
        return Postgres(directory, home, **options)
    if kind == "rabbitmq":
        return RabbitMQ(directory, home)
    raise ServerError(
        f"There is no private server of the kind {kind}.",
        next_step="run `shoplab down`: another version of shoplab started the supervisor",
    )


class SharedServer:
    """One kind of server, at most one of it, for all leases together."""

    def __init__(self, kind: str, directory: Path, home: Path) -> None:
        self.kind = kind
        self.directory = directory
        self.home = home
        self._lock = threading.Lock()
        self._server: Server | Cluster | None = None
        self._state = "not started"

    def use(self) -> dict[str, Any]:
        """A client's settings; starts the server where it does not run.

        A server that died unasked is an error once, so that nobody takes its loss of data for a
        result; the request after that starts it again.
        """
        with self._lock:
            if self._state == "stopped":
                raise ServerError("The stack is stopping.", next_step="try again")
            if self._state == "running":
                for server in self.processes():
                    if not server.alive:
                        self._state = "died"
                        status = server.process.returncode if server.process else None
                        raise ServerError(
                            f"{self.kind} died, and nobody had asked it to (exit status {status}).",
                            next_step="run the cell again: the next use starts it anew",
                            log=server.log,
                        )
            if self._state != "running":
                self._start()
            assert self._server is not None
            return self._server.settings()

    def _start(self) -> None:
        if self._server is None:
            self._server = self._make()
        self._state = "starting"
        try:
            self._server.start()
        except BaseException:
            self._state = "failed"
            raise
        self._state = "running"

    def _make(self) -> Server | Cluster:
        if self.kind == "redis":
            return Redis(self.directory, self.home)
        if self.kind == "postgres":
            return Postgres(self.directory, self.home)
        return make_cluster(self.directory, self.home, brokers=1)

    def close(self) -> None:
        """Stop the server for good. Safe to repeat."""
        with self._lock:
            if self._server is not None:
                self._server.stop()
            self._state = "stopped"

    def processes(self) -> list[Server]:
        """The server itself, or a cluster's brokers."""
        if self._server is None:
            return []
        return (
            [self._server] if isinstance(self._server, Server) else [*self._server.brokers.values()]
        )

    def _program(self) -> str:
        if isinstance(self._server, Server):
            return self._server.program()
        assert self._server is not None
        installation = self._server.installation
        version = installation.broker_jar.rpartition("-")[2]
        return f"Apache Kafka {version} (Java {installation.java.release})"

    def logs(self) -> list[Path]:
        """The logs that exist."""
        return [server.log for server in self.processes() if server.log.exists()]

    def status(self) -> dict[str, Any]:
        """State, program, PIDs, settings, log and memory (MB), as JSON."""
        running = [server for server in self.processes() if server.pid is not None]
        state = "died" if self._state == "running" and not running else self._state
        status: dict[str, Any] = {"state": state}
        status["log"] = next(map(str, self.logs()), None)
        if running and self._server is not None and state == "running":
            pids = [server.pid for server in running if server.pid is not None]
            status |= {
                "program": self._program(),
                "pids": pids,
                "settings": self._server.settings(),
                "memory_mb": memory(_families(pids)),
            }
        return status


def memory(processes: Iterable[psutil.Process]) -> float:
    """Memory of these processes in MB; where the system can tell, what they share counts once."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):  # it ended while we counted
            usage = process.memory_full_info()
            total += getattr(usage, "pss", usage.uss)
    return round(total / 1e6, 1)


def _families(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with suppress(psutil.Error):
            parent = psutil.Process(pid)
            yield from (parent, *parent.children(recursive=True))
