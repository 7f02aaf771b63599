"""What can be asked of orders, and how they hear of the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

from shop import logs
from shop.database import UnitOfWork
from shop.inventory.events import Pack, Release, Reserve, Ship, Unpack
from shop.messages import Envelope, Message
from shop.orders.domain import Answer, Instruction, InvalidOrder, Line, Order, Status
from shop.orders.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderShipped,
    StepAnswered,
)
from shop.orders.storage import OrderStore
from shop.payment.events import Authorise, Capture, Void

CONTEXT = "orders"


class Prices(Protocol):
    """Whoever knows what articles cost."""

    async def of(self, skus: Iterable[str]) -> Mapping[str, int]:
        """The price of each article that there is, in cents."""


def command(order: Order, instruction: Instruction) -> Message:
    """The command that tells a context to do or undo a step."""
    match instruction:
        case Instruction("reserve", undo=False):
            quantities: dict[str, int] = {}
            for line in order.lines:
                quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
            return Reserve(order_id=order.id, quantities=quantities)
        case Instruction("authorise", undo=False):
            return Authorise(order_id=order.id, amount=order.total, card=order.card)
    return COMMANDS[instruction](order_id=order.id)


COMMANDS: dict[Instruction, type[Message]] = {
    Instruction("reserve", undo=True): Release,
    Instruction("authorise", undo=True): Void,
    Instruction("pack"): Pack,
    Instruction("pack", undo=True): Unpack,
    Instruction("capture"): Capture,
    Instruction("ship"): Ship,
}


class PlaceOrder:
    """Accepts what a customer asks for. The rest happens after the answer."""

    def __init__(self, unit: UnitOfWork, store: OrderStore, prices: Prices) -> None:
        self._unit, self._store, self._prices = unit, store, prices

    async def __call__(
        self, *, customer_id: str, card: str, quantities: Mapping[str, int], key: str
    ) -> Order:
        """The new order; the same one again for the same idempotency ``key``.

        Raises ``InvalidOrder``.
        """
        prices = await self._prices.of(quantities)
        if missing := sorted(set(quantities) - set(prices)):
            raise InvalidOrder(f"There is no {missing[0]!r}.")
        lines = [Line(sku, quantity, prices[sku]) for sku, quantity in quantities.items()]
        order = Order(str(uuid4()), customer_id, card, key, datetime.now(UTC), lines)
        first = order.begin()
        placed = OrderPlaced(order_id=order.id, customer_id=customer_id, total=order.total)
        messages = placed, command(order, first)
        kept = await self._store.add(order)
        if kept is not order:
            return kept
        await self._unit.send(*messages, source=CONTEXT)
        await self._unit.commit()
        return order


class FollowOrder:
    """Takes the answers of the others in, one unit of work each."""

    def __init__(self, unit: UnitOfWork, store: OrderStore) -> None:
        self._unit, self._store = unit, store

    async def handle(self, envelope: Envelope) -> None:
        """Go on with the order that a ``StepAnswered`` is about."""
        answered = envelope.message
        if not isinstance(answered, StepAnswered):
            return
        if not await self._unit.first_time(CONTEXT, envelope.id):
            return
        order = await self._store.for_change(answered.order_id)
        if order is None:
            raise LookupError(f"No order {answered.order_id}.")
        before = order.status
        logs.say(**answered.told())
        answer = Answer(answered.step, answered.undo, answered.refused)
        await self._go_on(order, order.heard(answer), before)
        await self._unit.commit()

    async def give_up_late_ones(self, seconds: float) -> int:
        """Cancel what has waited for too long before it was paid; how many orders."""
        late = await self._store.late(seconds)
        for order in late:
            await self._go_on(order, order.give_up("It took too long."), Status.PLACED)
        await self._unit.commit()
        return len(late)

    async def _go_on(self, order: Order, instruction: Instruction | None, before: Status) -> None:
        messages = [command(order, instruction)] if instruction else []
        if order.status is not before:
            messages += news(order)
        await self._unit.send(*messages, source=CONTEXT)


def news(order: Order) -> list[Message]:
    """What the world is told of an order that has just got its status."""
    about = {"order_id": order.id, "customer_id": order.customer_id}
    match order.status:
        case Status.CONFIRMED:
            return [OrderConfirmed(**about, total=order.total)]
        case Status.SHIPPED:
            return [OrderShipped(**about)]
        case Status.CANCELLED:
            return [OrderCancelled(**about, reason=order.reason)]
    return []
