"""The commands that inventory carries out."""

from __future__ import annotations

from typing import ClassVar

from shop.messages import Message


class Reserve(Message):
    """Promise an order so many (``quantities``) of these articles: all of them, or none."""

    topic: ClassVar[str] = "inventory.commands"
    quantities: dict[str, int]


class Release(Message):
    """Take the promise back."""

    topic: ClassVar[str] = "inventory.commands"


class Pack(Message):
    """Put the goods into a box."""

    topic: ClassVar[str] = "inventory.commands"


class Unpack(Message):
    """Put the goods back on the shelf."""

    topic: ClassVar[str] = "inventory.commands"


class Ship(Message):
    """Send the box."""

    topic: ClassVar[str] = "inventory.commands"
