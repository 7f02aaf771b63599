"""A payment: set aside on the card, then taken, or set free again. Knows no server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What has become of the money."""

    AUTHORISED = "authorised"
    DECLINED = "declined"
    CAPTURED = "captured"
    VOIDED = "voided"


class ImpossibleStep(Exception):
    """A step that the state of things does not allow: somebody has made a mistake."""


@dataclass
class Payment:
    """The payment of one order; ``amount`` in cents."""

    order_id: str
    amount: int
    state: State
    reason: str = ""

    def capture(self) -> None:
        """Take the money. A second time changes nothing."""
        if self.state not in (State.AUTHORISED, State.CAPTURED):
            raise ImpossibleStep(f"A payment that is {self.state} cannot be captured.")
        self.state = State.CAPTURED

    def void(self) -> None:
        """Set the money free. A second time changes nothing, nor where the bank had declined."""
        if self.state is State.CAPTURED:
            raise ImpossibleStep("A payment that is captured cannot be voided.")
        if self.state is State.AUTHORISED:
            self.state = State.VOIDED
