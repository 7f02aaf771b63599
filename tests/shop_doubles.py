"""The shop without servers: a database in memory, a bank that keeps books."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shop.errors import Unavailable
from shop.inventory.domain import Reservation
from shop.messages import Message, Record, sealed
from shop.orders.domain import PIVOT, Order, Status
from shop.payment.domain import Payment
from shop.payment.service import Decision

T = TypeVar("T")


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


@dataclass
class Rows:
    """All that a database holds."""

    orders: dict[str, Order] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)
    outbox: list[Record] = field(default_factory=list)
    inbox: set[tuple[str, str]] = field(default_factory=set)


class Died(BaseException):
    """The process has died: nothing catches that."""


class MemoryUnit:
    """A ``UnitOfWork`` and all stores in one. ``dies``: when it is committed, before it is."""

    def __init__(self, database: MemoryDatabase, *, dies: bool = False) -> None:
        self._database, self._dies = database, dies
        self.rows = deepcopy(database.rows)

    async def send(self, *messages: Message, source: str) -> None:
        self.rows.outbox += [sealed(message, source) for message in messages]

    async def first_time(self, context: str, message_id: str) -> bool:
        before = len(self.rows.inbox)
        self.rows.inbox.add((context, message_id))
        return len(self.rows.inbox) > before

    async def commit(self) -> None:
        if self._dies:
            raise Died
        self._database.rows = self.rows


class MemoryDatabase:
    """A database whose units of work come one after the other."""

    def __init__(self, **free: int) -> None:
        self.rows = Rows(free=free)


class MemoryOrders:
    """An ``OrderStore``."""

    def __init__(self, unit: MemoryUnit) -> None:
        self._rows = unit.rows

    async def add(self, order: Order) -> Order:
        for each in self._rows.orders.values():
            if each.idempotency_key == order.idempotency_key:
                return each
        self._rows.orders[order.id] = order
        return order

    async def for_change(self, order_id: str) -> Order | None:
        return self._rows.orders.get(order_id)

    async def late(self, seconds: float, limit: int = 50) -> list[Order]:
        waiting = [o for o in self._rows.orders.values() if o.status is Status.PLACED]
        return [order for order in waiting if order.step < PIVOT][:limit]


class MemoryPayments:
    """A ``PaymentStore``."""

    def __init__(self, unit: MemoryUnit) -> None:
        self._rows = unit.rows

    def add(self, payment: Payment) -> None:
        self._rows.payments[payment.order_id] = payment

    async def for_change(self, order_id: str) -> Payment | None:
        return self._rows.payments.get(order_id)


class MemoryInventory:
    """An ``InventoryStore``."""

    def __init__(self, unit: MemoryUnit) -> None:
        self._rows = unit.rows

    def add(self, reservation: Reservation) -> None:
        self._rows.reservations[reservation.order_id] = reservation

    async def for_change(self, order_id: str) -> Reservation | None:
        return self._rows.reservations.get(order_id)

    async def take(self, quantities: dict[str, int]) -> str:
        for sku, quantity in sorted(quantities.items()):
            if self._rows.free[sku] < quantity:
                return sku
        await self.give_back({sku: -quantity for sku, quantity in quantities.items()})
        return ""

    async def give_back(self, quantities: dict[str, int]) -> None:
        for sku, quantity in quantities.items():
            self._rows.free[sku] += quantity


class FixedPrices:
    """``Prices`` that never change."""

    async def of(self, skus: Iterable[str]) -> dict[str, int]:
        prices = {"lamp": 4900, "rug": 8900}
        return {sku: prices[sku] for sku in skus if sku in prices}


class BankDouble:
    """A ``Bank`` that keeps books, and that may be away."""

    def __init__(self) -> None:
        self.authorised: dict[str, int] = {}
        self.captured: dict[str, int] = {}
        self.voided: set[str] = set()
        self.away = False

    async def authorise(self, key: str, amount: int, card: str) -> Decision:
        self._answer()
        if card.endswith("0002"):
            return Decision("The card was declined.")
        if key in self.voided:
            return Decision("It was cancelled before.")
        self.authorised[key] = amount
        return Decision()

    async def capture(self, key: str) -> None:
        self._answer()
        assert key in self.authorised and key not in self.voided, "nothing is set aside"
        self.captured[key] = self.authorised[key]

    async def void(self, key: str) -> None:
        self._answer()
        assert key not in self.captured, "the money was taken"
        self.voided.add(key)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("The bank is away.")
