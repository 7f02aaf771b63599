"""The commands that payment carries out."""

from __future__ import annotations

from typing import ClassVar

from shop.messages import Message


class Authorise(Message):
    """Set so many cents aside on this card."""

    topic: ClassVar[str] = "payment.commands"
    amount: int
    card: str


class Void(Message):
    """Set the money free again."""

    topic: ClassVar[str] = "payment.commands"


class Capture(Message):
    """Take the money that was set aside."""

    topic: ClassVar[str] = "payment.commands"
