"""A Kafka cluster on this machine: one broker for everyday use, three to break."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from shoplab.errors import ServerError
from shoplab.paths import private_directory
from shoplab.ports import free_ports
from shoplab.servers.kafka.broker import Broker
from shoplab.servers.kafka.installation import Installation

START_ATTEMPTS = 3


class Cluster:
    """Brokers 1 to ``count`` in directories side by side under ``directory``.

    ``start`` returns when every broker has passed a round trip. A broker that was killed keeps its
    data and its ports, so ``restart`` brings the same one back.
    """

    def __init__(
        self, directory: Path, home: Path, installation: Installation, count: int = 1
    ) -> None:
        if count not in (1, 3):
            raise ValueError(f"a cluster has one broker or three, not {count}")
        self.directory = private_directory(directory)
        self.home = home
        self.installation = installation
        self.count = count
        self.brokers: dict[int, Broker] = {}

    def settings(self) -> dict[str, Any]:
        """The settings of a ``kafka-python`` client; every broker is named."""
        each = (str(b.settings()["bootstrap_servers"]) for b in self.brokers.values())
        return {"bootstrap_servers": ",".join(each)}

    def start(self) -> None:
        """Start every broker at once. A port that was taken meanwhile is replaced by another."""
        for attempt in range(1, START_ATTEMPTS + 1):
            self._allot()
            try:
                return self._start_all()
            except ServerError as error:
                if attempt == START_ATTEMPTS or "has the port" not in error.next_step:
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
            raise ValueError(f"no broker {broker_id}; there are {sorted(self.brokers)}") from None

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
        """Do ``action`` with all brokers at once; the first failure ends the others' processes."""
        with ThreadPoolExecutor(self.count) as pool:
            waiting = [pool.submit(action, broker) for broker in self.brokers.values()]
            for done in as_completed(waiting):
                if done.exception() is not None:
                    for broker in self.brokers.values():
                        broker.kill()
                    done.result()
