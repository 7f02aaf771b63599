"""A Kafka cluster on this machine: one broker for everyday use, three to break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from shoplab.errors import PortTaken, ServerError
from shoplab.paths import private_directory
from shoplab.ports import free_ports
from shoplab.servers.kafka.broker import Broker
from shoplab.servers.kafka.installation import Installation
from shoplab.servers.kafka.setup import set_up
from shoplab.servers.server import Settings


class Cluster:
    """Brokers 1 to ``count``, one or three, in directories side by side under ``directory``.

    They run what set-up has brought, or brings now, where no ``installation`` is given. ``start``
    returns when every broker has passed a round trip. A broker that was killed keeps its data and
    its ports, so ``restart`` brings the same one back.
    """

    start_attempts = 3
    """Starts that may fail because another program took a port between choosing and using it."""

    def __init__(
        self,
        directory: Path,
        home: Path,
        count: int = 1,
        installation: Installation | None = None,
    ) -> None:
        if count not in (1, 3):
            raise ServerError(
                f"A Kafka cluster has one broker or three here, not {count!r}.",
                next_step="ask for three: of two, none may die",
            )
        self.installation = installation or set_up()
        self.directory = private_directory(directory)
        self.home = home
        self.count = count
        self.brokers: dict[int, Broker] = {}

    def settings(self) -> Settings:
        """The settings of a ``kafka-python`` client; every broker is named."""
        each = (broker.settings()["bootstrap_servers"] for broker in self.brokers.values())
        return {"bootstrap_servers": ",".join(each)}

    def program(self) -> str:
        """For example ``Apache Kafka 4.3.1 (Java 25)``."""
        version = self.installation.broker_jar.rpartition("-")[2]
        return f"Apache Kafka {version} (Java {self.installation.java.release})"

    def processes(self) -> Sequence[Broker]:
        """The brokers."""
        return list(self.brokers.values())

    def start(self) -> None:
        """Start all brokers together. A port that was taken meanwhile is replaced by another."""
        for attempt in range(1, self.start_attempts + 1):
            self._allot()
            try:
                return self._start_all()
            except PortTaken:
                if attempt == self.start_attempts:
                    raise

    def stop(self) -> None:
        """Stop every broker, politely where there is one; of three, the last lose their quorum."""
        self._each(Broker.stop if self.count == 1 else Broker.kill)

    def kill(self, broker_id: int) -> None:
        """End one broker as a crash does, by SIGKILL."""
        self._broker(broker_id).kill()

    def restart(self, broker_id: int) -> None:
        """Start a broker again on its data and ports; return when it has passed a round trip."""
        broker = self._broker(broker_id)
        broker.stop()
        broker.start()

    def halt(self, broker_id: int) -> None:
        """Halt one broker, as a long pause of its machine would; return when it stands still."""
        self._broker(broker_id).halt()

    def resume(self, broker_id: int) -> None:
        """Let a halted broker go on; return when it does."""
        self._broker(broker_id).resume()

    def pid(self, broker_id: int) -> int | None:
        """The broker's process number while it runs, else None."""
        return self._broker(broker_id).pid

    def alive(self, broker_id: int) -> bool:
        """Whether the broker's process runs."""
        return self._broker(broker_id).alive

    def _broker(self, broker_id: int) -> Broker:
        try:
            return self.brokers[broker_id]
        except KeyError:
            raise ServerError(
                f"There is no broker {broker_id}; there are {sorted(self.brokers)}.",
                next_step="name one of them",
            ) from None

    def _allot(self) -> None:
        ports = free_ports(2 * self.count)
        voters = {n: (ports[2 * n - 2], ports[2 * n - 1]) for n in range(1, self.count + 1)}
        self.brokers = {
            n: Broker(n, self.directory / f"broker-{n}", self.home, self.installation, voters)
            for n in voters
        }

    def _start_all(self) -> None:
        try:
            self._each(Broker.start)
        except BaseException:  # Ctrl+C too: no broker outlives a start that failed
            self._each(Broker.kill)
            raise

    def _each(self, action: Callable[[Broker], None]) -> None:
        """Do ``action`` with all brokers together; the first failure ends the others' processes."""
        with ThreadPoolExecutor(self.count) as pool:
            waiting = [pool.submit(action, broker) for broker in self.brokers.values()]
            for done in as_completed(waiting):
                if done.exception() is not None:
                    for broker in self.brokers.values():
                        broker.kill()
                    done.result()
