"""The read model: when a customer's list is taken from it, and when it must not be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from shop.doubles import MemoryCache, MemoryDatabase, MemoryOrders, MemoryUnit, now
from shop.errors import Unavailable
from shop.messages import Envelope, Message
from shop.orders.domain import Line, Order, Status
from shop.orders.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderShipped,
    StepAnswered,
)
from shop.orders.storage import Summary
from shop.orders.summaries import Summaries

Meanwhile = Callable[[], Awaitable[None]]


class Store(MemoryOrders):
    """Counts how often it is asked; between its reading and its answer something may happen."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database, self.reads, self.meanwhile = database, 0, list[Meanwhile]()

    async def summaries(self, customer_id: str, limit: int = 20) -> list[Summary]:
        self.reads += 1
        found = await MemoryOrders(MemoryUnit(self.database)).summaries(customer_id, limit)
        if self.meanwhile:
            await self.meanwhile.pop()()
        return found


class Redis(MemoryCache):
    """It may be away."""

    away = False

    async def get(self, *keys: str) -> list[Any]:
        return [None] * len(keys) if self.away else await super().get(*keys)

    async def put(self, values: Mapping[str, Any], seconds: int) -> bool:
        return not self.away and await super().put(values, seconds)


class Shop:
    """One order of mary's, and her list."""

    def __init__(self) -> None:
        lines = [Line("lamp", 2, 4900)]
        self.order = Order("1", "mary", "tok", "key", datetime.now(UTC), lines)
        self.database, self.redis = MemoryDatabase(), Redis()
        self.database.rows.orders["1"] = self.order
        self.store = Store(self.database)
        self.summaries = Summaries(self.redis, self.store)

    def seen(self) -> list[Status]:
        return [each.status for each in now(self.summaries.of("mary"))]

    async def change(self, status: Status) -> None:
        self.database.rows.orders["1"].status = status

    async def change_and_tell(self, status: Status) -> None:
        await self.change(status)
        await self.summaries.handle(envelope(OrderShipped(order_id="1", customer_id="mary")))


def envelope(message: Message) -> Envelope:
    return Envelope(str(uuid4()), message)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_a_list_that_is_kept_asks_the_database_for_nothing(shop: Shop) -> None:
    first = now(shop.summaries.of("mary"))
    assert first == [Summary("1", Status.PLACED, shop.order.placed_at, 9800)]
    assert (now(shop.summaries.of("mary")), shop.store.reads) == (first, 1)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (OrderPlaced, {"total": 9800}),
        (OrderConfirmed, {"total": 9800}),
        (OrderShipped, {}),
        (OrderCancelled, {"reason": "It took too long."}),
    ],
)
def test_every_event_of_an_order_makes_its_customers_list_anew(
    shop: Shop, kind: type[Message], told: dict[str, Any]
) -> None:
    assert shop.seen() == [Status.PLACED]
    now(shop.change(Status.SHIPPED))
    now(shop.summaries.handle(envelope(kind(order_id="1", customer_id="mary", **told))))
    assert (shop.seen(), shop.store.reads) == ([Status.SHIPPED], 2)


def test_whatever_else_it_is_told_changes_no_list(shop: Shop) -> None:
    assert shop.seen() == [Status.PLACED]
    now(shop.summaries.handle(envelope(StepAnswered(order_id="1", step="pack"))))
    now(shop.summaries.handle(envelope(OrderShipped(order_id="2", customer_id="john"))))
    assert (shop.seen(), shop.store.reads) == ([Status.PLACED], 2)  # one was for john


def test_a_list_that_was_read_before_an_event_and_written_after_it_does_not_count(
    shop: Shop,
) -> None:
    shop.store.meanwhile.append(lambda: shop.change_and_tell(Status.SHIPPED))
    assert shop.seen() == [Status.PLACED]  # as it was when the database was asked
    assert shop.seen() == [Status.SHIPPED]


def test_of_two_events_that_are_handled_side_by_side_the_later_counts(shop: Shop) -> None:
    shop.store.meanwhile.append(lambda: shop.change_and_tell(Status.SHIPPED))
    now(shop.change_and_tell(Status.CONFIRMED))
    assert shop.seen() == [Status.SHIPPED]


def test_without_redis_the_database_is_asked_and_events_wait(shop: Shop) -> None:
    assert shop.seen() == [Status.PLACED]
    shop.redis.away = True
    with pytest.raises(Unavailable):
        now(shop.change_and_tell(Status.SHIPPED))
    assert shop.seen() == [Status.SHIPPED]
    shop.redis.away = False
    assert shop.seen() == [Status.PLACED]  # what it knew before: the event is still to come
    now(shop.change_and_tell(Status.SHIPPED))
    assert shop.seen() == [Status.SHIPPED]
