"""The shop without servers: doubles of its database, its cache, its relay and its bank.

``broker/memory.py`` is the broker's. They are for tests, and as quick as can be; what they repeat
of a server's rules, somebody has written down a second time, and a real server has to confirm it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

from dishka import AnyOf, Provider, Scope

from shop.broker import Broker
from shop.broker.memory import MemoryBroker
from shop.cache import Cache
from shop.database import UnitOfWork
from shop.errors import Unavailable
from shop.inventory.domain import Reservation
from shop.inventory.storage import InventoryStore
from shop.messages import Message, Record, sealed
from shop.orders.domain import PIVOT, Order, Status
from shop.orders.storage import OrderStore, Summary
from shop.payment.domain import Payment
from shop.payment.service import Decision
from shop.payment.storage import PaymentStore
from shop.relay import pause

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
    price: dict[str, int] = field(default_factory=dict)
    outbox: list[Record] = field(default_factory=list)
    inbox: set[tuple[str, str]] = field(default_factory=set)


class MemoryDatabase:
    """A database whose units of work come one after the other."""

    def __init__(self, **free: int) -> None:
        self.rows = Rows(free=free)


class Died(BaseException):
    """The process has died: nothing catches that."""


class MemoryUnit:
    """A ``UnitOfWork``, which begins when it is first used; at commit number ``dies`` it dies."""

    def __init__(self, database: MemoryDatabase, *, dies: int = 0) -> None:
        self._database, self._dies = database, dies

    @cached_property
    def rows(self) -> Rows:
        """What this unit of work sees and changes."""
        self._began_with = self._database.rows
        return deepcopy(self._database.rows)

    async def send(self, *messages: Message, source: str) -> None:
        """See ``UnitOfWork``."""
        self.rows.outbox += [sealed(message, source) for message in messages]

    async def first_time(self, context: str, message_id: str) -> bool:
        """See ``UnitOfWork``."""
        before = len(self.rows.inbox)
        self.rows.inbox.add((context, message_id))
        return len(self.rows.inbox) > before

    async def commit(self) -> None:
        """See ``UnitOfWork``."""
        self._dies -= 1
        if self._dies == 0:
            raise Died
        rows = self.rows
        assert self._database.rows is self._began_with, "two units of work at the same time"
        self._database.rows = self._began_with = deepcopy(rows)


class MemoryOrders:
    """An ``OrderStore``."""

    def __init__(self, unit: MemoryUnit) -> None:
        self._unit = unit

    async def add(self, order: Order) -> Order:
        """See ``OrderStore``."""
        for each in self._unit.rows.orders.values():
            if each.idempotency_key == order.idempotency_key:
                return each
        self._unit.rows.orders[order.id] = order
        return order

    async def for_change(self, order_id: str) -> Order | None:
        """See ``OrderStore``."""
        return self._unit.rows.orders.get(order_id)

    async def late(self, seconds: float, limit: int = 50) -> list[Order]:
        """See ``OrderStore``."""
        oldest = datetime.now(UTC) - timedelta(seconds=seconds)
        waiting = [o for o in self._unit.rows.orders.values() if o.status is Status.PLACED]
        return [o for o in waiting if o.step < PIVOT and o.placed_at <= oldest][:limit]

    async def find(self, order_id: str) -> Order | None:
        """See ``OrderStore``."""
        return self._unit.rows.orders.get(order_id)

    async def summaries(self, customer_id: str, limit: int = 20) -> list[Summary]:
        """See ``OrderStore``."""
        theirs = [o for o in self._unit.rows.orders.values() if o.customer_id == customer_id]
        theirs.sort(key=lambda order: order.placed_at, reverse=True)
        return [Summary(o.id, o.status, o.placed_at, o.total) for o in theirs[:limit]]


class MemoryPayments:
    """A ``PaymentStore``."""

    def __init__(self, unit: MemoryUnit) -> None:
        self._unit = unit

    def add(self, payment: Payment) -> None:
        """See ``PaymentStore``."""
        self._unit.rows.payments[payment.order_id] = payment

    async def for_change(self, order_id: str) -> Payment | None:
        """See ``PaymentStore``."""
        return self._unit.rows.payments.get(order_id)


class MemoryInventory:
    """An ``InventoryStore``."""

    def __init__(self, unit: MemoryUnit) -> None:
        self._unit = unit

    def add(self, reservation: Reservation) -> None:
        """See ``InventoryStore``."""
        self._unit.rows.reservations[reservation.order_id] = reservation

    async def for_change(self, order_id: str) -> Reservation | None:
        """See ``InventoryStore``."""
        return self._unit.rows.reservations.get(order_id)

    async def take(self, quantities: Mapping[str, int]) -> str:
        """See ``InventoryStore``."""
        for sku, quantity in sorted(quantities.items()):
            if self._unit.rows.free.get(sku, 0) < quantity:
                return sku
        await self.give_back({sku: -quantity for sku, quantity in quantities.items()})
        return ""

    async def give_back(self, quantities: Mapping[str, int]) -> None:
        """See ``InventoryStore``."""
        for sku, quantity in quantities.items():
            self._unit.rows.free[sku] += quantity

    async def prices(self, skus: Iterable[str]) -> dict[str, int]:
        """See ``InventoryStore``."""
        return {sku: self._unit.rows.price[sku] for sku in skus if sku in self._unit.rows.price}

    async def stock_up(self, sku: str, price: int, free: int) -> None:
        """See ``InventoryStore``."""
        self._unit.rows.price[sku], self._unit.rows.free[sku] = price, free


class FixedPrices:
    """``Prices`` that never change."""

    async def of(self, skus: Iterable[str]) -> dict[str, int]:
        """See ``Prices``."""
        prices = {"lamp": 4900, "rug": 8900}
        return {sku: prices[sku] for sku in skus if sku in prices}


class MemoryCache:
    """A ``Cache`` that forgets nothing."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    async def get(self, *keys: str) -> list[Any]:
        """See ``Cache``."""
        return [json.loads(self._kept[key]) if key in self._kept else None for key in keys]

    async def put(self, values: Mapping[str, Any], seconds: int) -> bool:
        """See ``Cache``."""
        self._kept |= {key: json.dumps(value) for key, value in values.items()}
        return True

    async def mine(self, key: str, seconds: float) -> bool:
        """See ``Cache``."""
        free = key not in self._kept
        self._kept[key] = "1"
        return free


class MemoryRelay:
    """A ``Relay``."""

    def __init__(self, database: MemoryDatabase, broker: Broker) -> None:
        self._database, self._publisher = database, broker.publisher()

    async def run(self, stop: asyncio.Event) -> None:
        """See ``Relay``."""
        while not stop.is_set():
            if self._database.rows.outbox:
                unit = MemoryUnit(self._database)
                self._publisher.publish(unit.rows.outbox)
                unit.rows.outbox.clear()
                await unit.commit()
            await pause(stop, 0.005)


def in_memory(rows: MemoryDatabase, messages: MemoryBroker) -> Provider:
    """What takes the place of PostgreSQL, Redis and Kafka: ``wire(settings, in_memory(...))``."""
    instead = Provider(scope=Scope.REQUEST)
    instead.provide(lambda: MemoryUnit(rows), provides=AnyOf[UnitOfWork, MemoryUnit])
    instead.provide(MemoryOrders, provides=OrderStore)
    instead.provide(MemoryPayments, provides=PaymentStore)
    instead.provide(MemoryInventory, provides=InventoryStore)
    instead.provide(MemoryCache, provides=Cache, scope=Scope.APP)
    instead.provide(lambda: messages, provides=Broker, scope=Scope.APP)
    return instead


class BankDouble:
    """A ``Bank`` that keeps books, and that may be away."""

    def __init__(self) -> None:
        self.authorised: dict[str, int] = {}
        self.captured: dict[str, int] = {}
        self.voided: set[str] = set()
        self.away = False

    async def authorise(self, key: str, amount: int, card: str) -> Decision:
        """See ``Bank``."""
        self._answer()
        if card.endswith("0002"):
            return Decision("The card was declined.")
        if key in self.voided:
            return Decision("It was cancelled before.")
        self.authorised[key] = amount
        return Decision()

    async def capture(self, key: str) -> None:
        """See ``Bank``."""
        self._answer()
        assert key in self.authorised and key not in self.voided, "nothing is set aside"
        self.captured[key] = self.authorised[key]

    async def void(self, key: str) -> None:
        """See ``Bank``."""
        self._answer()
        assert key not in self.captured, "the money was taken"
        self.voided.add(key)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("The bank is away.")
