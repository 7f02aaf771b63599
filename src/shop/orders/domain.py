"""An order and its saga: which step comes next, and what has to be undone. Knows no server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

STEPS = ("reserve", "authorise", "pack", "capture", "ship")
"""The steps of an order. A sixth is a name here, a pair of commands in ``service.COMMANDS``, and a
method of the context that carries it out."""

PIVOT = STEPS.index("capture")
"""The step after which there is no way back: the money is taken. What comes after it is tried again
until it is done; what comes before it can be undone."""


class Status(StrEnum):
    """How far an order has come, for its customer."""

    PLACED = "placed"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


@dataclass
class Line:
    """So many of one article, at the price of the day, in cents."""

    sku: str
    quantity: int
    price: int


@dataclass(frozen=True)
class Instruction:
    """What has to happen next: ``step`` is done, or undone."""

    step: str
    undo: bool = False


@dataclass(frozen=True)
class Answer:
    """What a context says of an instruction; ``refused`` has the reason, or is empty."""

    step: str
    undo: bool = False
    refused: str = ""


class InvalidOrder(ValueError):
    """An order that cannot be placed as it is."""


@dataclass
class Order:
    """An order, the step that it waits for (its place in ``STEPS``), and why it was cancelled."""

    id: str
    customer_id: str
    card: str
    idempotency_key: str
    placed_at: datetime
    lines: list[Line] = field(default_factory=list)
    status: Status = Status.PLACED
    step: int = 0
    reason: str = ""

    @property
    def total(self) -> int:
        """What all lines cost together, in cents."""
        return sum(line.quantity * line.price for line in self.lines)

    def begin(self) -> Instruction:
        """The first instruction. Raises ``InvalidOrder`` for an order of nothing."""
        if not self.lines or any(line.quantity < 1 for line in self.lines):
            raise InvalidOrder("An order has one line or more, each for one article or more.")
        return Instruction(STEPS[0])

    def heard(self, answer: Answer) -> Instruction | None:
        """Take an answer in; the next instruction, or none.

        An answer that the order does not wait for is a repetition, or is late, and changes nothing.
        """
        if answer != self._awaited(answer.refused):
            return None
        if self.status is Status.CANCELLING:
            self.step -= 1
            return self._go_back()
        if answer.refused:
            return self._cancel(answer.refused)
        self.step += 1
        if self.step > PIVOT:
            self.status = Status.CONFIRMED
        if self.step == len(STEPS):
            self.status = Status.SHIPPED
            return None
        return Instruction(STEPS[self.step])

    def give_up(self, reason: str) -> Instruction | None:
        """Cancel an order that waits too long, while there is a way back.

        Nobody knows whether the step that it waits for was done, so that one is undone as well.
        """
        if self.status is not Status.PLACED or self.step >= PIVOT:
            return None
        self.step += 1
        return self._cancel(reason)

    def _awaited(self, refused: str) -> Answer | None:
        if self.status in (Status.PLACED, Status.CONFIRMED):
            may_refuse = self.step <= PIVOT
            return Answer(STEPS[self.step], refused=refused if may_refuse else "")
        if self.status is Status.CANCELLING:
            return Answer(STEPS[self.step - 1], undo=True)
        return None

    def _cancel(self, reason: str) -> Instruction | None:
        self.status, self.reason = Status.CANCELLING, reason
        return self._go_back()

    def _go_back(self) -> Instruction | None:
        if self.step == 0:
            self.status = Status.CANCELLED
            return None
        return Instruction(STEPS[self.step - 1], undo=True)
