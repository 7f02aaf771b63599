"""What orders tell the others, and the answers that they hear."""

from __future__ import annotations

from typing import ClassVar

from shop.messages import Message


class OrderPlaced(Message):
    """A customer has placed an order; ``total`` in cents."""

    topic: ClassVar[str] = "orders.events"
    customer_id: str
    total: int


class OrderConfirmed(Message):
    """The order is paid; from here on it will be shipped."""

    topic: ClassVar[str] = "orders.events"
    customer_id: str
    total: int


class OrderShipped(Message):
    """The box has left."""

    topic: ClassVar[str] = "orders.events"
    customer_id: str


class OrderCancelled(Message):
    """The order will not be carried out, and everything is as it was before."""

    topic: ClassVar[str] = "orders.events"
    customer_id: str
    reason: str


class StepAnswered(Message):
    """A context has done a step of the saga, undone it, or refused it for a reason."""

    topic: ClassVar[str] = "orders.answers"
    step: str
    undo: bool = False
    refused: str = ""

    def told(self) -> dict[str, str]:
        """What became of the step, for the log."""
        outcome = "undone" if self.undo else "refused" if self.refused else "done"
        return {"step": self.step, "outcome": outcome} | (
            {"reason": self.refused} if self.refused else {}
        )
