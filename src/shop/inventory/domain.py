"""What is promised to an order. Knows no server.

How many of an article are left is one number that all orders compete for, and stands in the
database: ``storage.take`` counts it down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """What has become of the goods."""

    RESERVED = "reserved"
    REFUSED = "refused"
    PACKED = "packed"
    SHIPPED = "shipped"
    RELEASED = "released"


class ImpossibleStep(Exception):
    """A step that the state of things does not allow: somebody has made a mistake."""


@dataclass
class Reservation:
    """What one order was promised: how many (``quantities``) of which article."""

    order_id: str
    state: State
    quantities: dict[str, int] = field(default_factory=dict)
    reason: str = ""

    def pack(self) -> None:
        """Put the goods into a box. A second time changes nothing."""
        self._move(State.PACKED, State.RESERVED)

    def unpack(self) -> None:
        """Put them back on the shelf, still promised. A second time changes nothing."""
        if self.state is not State.RELEASED:
            self._move(State.RESERVED, State.PACKED)

    def ship(self) -> None:
        """Send the box. A second time changes nothing."""
        self._move(State.SHIPPED, State.PACKED)

    def release(self) -> bool:
        """Take the promise back; whether the goods have to be counted as free again."""
        if self.state in (State.RELEASED, State.REFUSED):
            return False
        self._move(State.RELEASED, State.RESERVED)
        return True

    def _move(self, to: State, *origins: State) -> None:
        if self.state not in (to, *origins):
            raise ImpossibleStep(f"Goods that are {self.state} cannot be {to}.")
        self.state = to
