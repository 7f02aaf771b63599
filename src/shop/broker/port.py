"""What the shop asks of a broker: little enough that any client can do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shop.errors import Unavailable
from shop.messages import Record


class BrokerUnavailable(Unavailable):
    """The broker did not answer in time."""


@dataclass(frozen=True)
class Received:
    """A record, and where it was found."""

    record: Record
    partition: int
    offset: int


class Publisher(Protocol):
    """Sends records."""

    def publish(self, records: Sequence[Record]) -> None:
        """Send them; return when every replica in sync has all of them.

        Raises ``BrokerUnavailable``: then some may have arrived, and all are to be sent again.
        """

    def close(self) -> None:
        """Give the connections back."""


class Subscriber(Protocol):
    """Reads the topics of a group, in one thread."""

    def poll(self, seconds: float) -> list[Received]:
        """What has come; waits so long for the first. Raises ``BrokerUnavailable``."""

    def commit(self) -> None:
        """Whatever ``poll`` has returned so far is done, and comes to nobody of the group again.

        If the group has meanwhile given the partitions to others, they get it again.
        """

    def close(self) -> None:
        """Leave the group, so that the others take over now."""


class Onlooker(Protocol):
    """Sees how far a group has come in a topic, without being one of it; in one thread."""

    def oldest(self) -> float | None:
        """When the oldest record came that the group is not done with; None where it has done all.

        In seconds since the epoch. Raises ``BrokerUnavailable``.
        """

    def close(self) -> None:
        """Give the connections back."""


class Broker(Protocol):
    """A broker."""

    def create_topics(self, topics: Sequence[str]) -> None:
        """Have these topics; those that exist stay as they are."""

    def publisher(self) -> Publisher:
        """Somebody who sends."""

    def subscriber(self, group: str, topics: Sequence[str]) -> Subscriber:
        """Somebody who reads for this group, from the beginning if the group is new."""

    def onlooker(self, group: str, topic: str) -> Onlooker:
        """Somebody who sees how far this group has come."""
