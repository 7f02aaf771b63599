"""A broker in this process: the test double."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence

from shop.broker.port import BrokerUnavailable, Received
from shop.messages import Record


class MemoryBroker:
    """A ``Broker`` with one partition a topic; while ``down``, it answers nobody."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Record]] = defaultdict(list)
        self.times: dict[str, list[float]] = defaultdict(list)
        self.committed: dict[tuple[str, str], int] = defaultdict(int)
        self.changed = threading.Condition()
        self.down = False

    def create_topics(self, topics: Sequence[str]) -> None:
        """See ``Broker``."""
        for topic in topics:
            self.topics[topic]

    def publisher(self) -> _Publisher:
        """See ``Broker``."""
        return _Publisher(self)

    def subscriber(self, group: str, topics: Sequence[str]) -> _Subscriber:
        """See ``Broker``."""
        return _Subscriber(self, group, topics)

    def onlooker(self, group: str, topic: str) -> _Onlooker:
        """See ``Broker``."""
        return _Onlooker(self, group, topic)

    def answer(self) -> None:
        """Raise ``BrokerUnavailable`` while it is down."""
        if self.down:
            raise BrokerUnavailable("The broker is down.")


class _Publisher:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def publish(self, records: Sequence[Record]) -> None:
        """See ``Publisher``."""
        self._broker.answer()
        with self._broker.changed:
            for record in records:
                self._broker.topics[record.topic].append(record)
                self._broker.times[record.topic].append(time.time())
            self._broker.changed.notify_all()

    def close(self) -> None:
        """See ``Publisher``."""


class _Subscriber:
    def __init__(self, broker: MemoryBroker, group: str, topics: Sequence[str]) -> None:
        self._broker, self._group, self._topics = broker, group, topics
        self._next = {topic: broker.committed[group, topic] for topic in topics}

    def poll(self, seconds: float) -> list[Received]:
        """See ``Subscriber``."""
        self._broker.answer()
        with self._broker.changed:
            self._broker.changed.wait_for(self._waiting, timeout=seconds)
            return self._waiting(take=True)

    def commit(self) -> None:
        """See ``Subscriber``."""
        self._broker.answer()
        for topic, offset in self._next.items():
            self._broker.committed[self._group, topic] = offset

    def close(self) -> None:
        """See ``Subscriber``."""

    def _waiting(self, *, take: bool = False) -> list[Received]:
        found = []
        for topic in self._topics:
            records = self._broker.topics[topic]
            found += [Received(records[n], 0, n) for n in range(self._next[topic], len(records))]
            if take:
                self._next[topic] = len(records)
        return found


class _Onlooker:
    def __init__(self, broker: MemoryBroker, group: str, topic: str) -> None:
        self._broker, self._group, self._topic = broker, group, topic

    def oldest(self) -> float | None:
        """See ``Onlooker``."""
        self._broker.answer()
        waiting = self._broker.times[self._topic][
            self._broker.committed[self._group, self._topic] :
        ]
        return min(waiting, default=None)

    def close(self) -> None:
        """See ``Onlooker``."""
