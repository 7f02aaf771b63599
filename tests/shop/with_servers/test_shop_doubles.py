"""What the shop's doubles in memory promise, and whether the real stores do the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import anyio
import pytest
from dishka import Scope

from shop import doubles
from shop.broker.memory import MemoryBroker
from shop.database import UnitOfWork
from shop.inventory.storage import InventoryStore
from shop.orders.domain import Line, Order
from shop.orders.storage import OrderStore
from shop.settings import Settings
from shop.wiring import wire

pytestmark = pytest.mark.server

Unit = Callable[[], AbstractAsyncContextManager[Any]]


@pytest.fixture(params=["memory", "servers"])
def unit(request: pytest.FixtureRequest, settings: Settings) -> Unit:
    """Opens units of work on one database."""
    rows = doubles.MemoryDatabase()
    instead = [doubles.in_memory(rows, MemoryBroker())] if request.param == "memory" else []

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        container = wire(settings, *instead)
        async with container(scope=Scope.REQUEST) as scope:
            yield scope
        await container.close()

    return opened


def order(key: str, customer: str) -> Order:
    lines = [Line("lamp", 2, 4900), Line("rug", 1, 8900)]
    return Order(str(uuid4()), customer, "tok", key, datetime.now(UTC), lines)


def test_a_key_is_kept_once_and_what_is_not_committed_never_was(unit: Unit) -> None:
    key, mary = str(uuid4()), str(uuid4())

    async def main() -> None:
        async with unit() as lost:
            await (await lost.get(OrderStore)).add(order(key, mary))
        async with unit() as first:
            kept = await (await first.get(OrderStore)).add(order(key, mary))
            await (await first.get(UnitOfWork)).commit()
        async with unit() as second:
            store = await second.get(OrderStore)
            assert (await store.add(order(key, mary))).id == kept.id
            assert [(s.id, s.total) for s in await store.summaries(mary)] == [(kept.id, 18_700)]

    anyio.run(main)


def test_goods_are_taken_all_or_none(unit: Unit) -> None:
    lamp, rug = str(uuid4()), str(uuid4())

    async def main() -> None:
        async with unit() as scope:
            store = await scope.get(InventoryStore)
            await store.stock_up(lamp, 4900, 3)
            await store.stock_up(rug, 8900, 1)
            assert await store.take({lamp: 2, rug: 2}) == rug
            assert await store.take({lamp: 3}) == ""
            assert await store.take({lamp: 1}) == lamp
            await store.give_back({lamp: 1})
            assert await store.take({lamp: 1}) == ""
            assert await store.prices([lamp, "nothing"]) == {lamp: 4900}

    anyio.run(main)


def test_a_message_is_new_once(unit: Unit) -> None:
    message = str(uuid4())

    async def main() -> None:
        for new in (True, False):
            async with unit() as scope:
                work = await scope.get(UnitOfWork)
                assert await work.first_time("orders", message) is new
                assert await work.first_time("payment", message) is new
                await work.commit()

    anyio.run(main)
