"""A hundred orders at two doors of one process, HTTP and messages, and what they leave open."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ClassVar, Literal
from uuid import uuid4

import httpx2
from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from shop.broker.memory import MemoryBroker
from shop.messages import Message, sealed
from shop.worker import DEAD, Handle, Worker

GROUPS = [["lamp"] * 8 + ["unicorn"]] * 5 + [["rug"] * 5]
"""What fifty customers ask for; a group comes when the one before it has its answers."""

Way = Literal["request", "message"]

_came_by: ContextVar[Way] = ContextVar("came_by")


class OrderWanted(Message):
    """A customer of a marketplace asks for an order."""

    topic: ClassVar[str] = "orders.wanted"
    customer_id: str
    card: str
    quantities: dict[str, int]


@dataclass
class Use:
    """A connection from the moment when a pool hands it out; ``end`` is when it was given back.

    It is held here: the garbage collector would give it back at some time, in its owner's place.
    """

    by: Way
    begin: float
    held: object = field(repr=False)
    end: float | None = None


@dataclass(frozen=True)
class Served:
    """What customers were ``told``, how many times each, and the connections that it took."""

    told: Mapping[int | str, int]
    uses: list[Use]
    begin: float
    end: float

    @property
    def lost(self) -> int:
        """How many connections nobody had given back when all orders were through."""
        return sum(use.end is None for use in self.uses)


def wanted(sku: str) -> dict[str, Any]:
    """What a customer asks for: one piece of an article."""
    return {"customer_id": "mary", "card": "tok_1111", "quantities": {sku: 1}}


async def serve(engine: AsyncEngine, app: FastAPI, handle: Handle | None = None) -> Served:
    """Have fifty customers at the door ``app``, and as many messages handled at the same time.

    ``engine`` is whose pool they use. Without ``handle`` no messages come.
    """
    uses, begin = _watched(engine), monotonic()
    doors = [_by_request(app), *([_by_message(handle)] if handle else [])]
    told: Counter[int | str] = Counter()
    for each in await asyncio.gather(*doors):
        told.update(each)
    return Served(dict(told), uses, begin, monotonic())


def _watched(engine: AsyncEngine) -> list[Use]:
    uses: list[Use] = []
    now: dict[object, Use] = {}

    def taken(_connection: object, record: object, proxy: object) -> None:
        now[record] = Use(_came_by.get(), monotonic(), proxy)
        uses.append(now[record])

    def given_back(_connection: object, record: object) -> None:
        now[record].end = monotonic()

    event.listen(engine.sync_engine, "checkout", taken)
    event.listen(engine.sync_engine, "checkin", given_back)
    return uses


async def _by_request(app: FastAPI) -> Mapping[int | str, int]:
    _came_by.set("request")
    told: Counter[int | str] = Counter()
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as customers:

        async def ask(sku: str) -> int:
            key = {"Idempotency-Key": str(uuid4())}
            answer = await customers.post("/orders", json=wanted(sku), headers=key)
            return answer.status_code

        for group in GROUPS:
            told.update(await asyncio.gather(*[ask(sku) for sku in group]))
    return told


async def _by_message(handle: Handle) -> Mapping[int | str, int]:
    _came_by.set("message")
    orders = [
        OrderWanted(order_id=str(uuid4()), **wanted(sku)) for group in GROUPS for sku in group
    ]
    broker, stop = MemoryBroker(), asyncio.Event()
    broker.publisher().publish([sealed(order, "marketplace") for order in orders])
    worker = Worker("desk", OrderWanted.topic, broker, handle, at_a_time=10)
    working = asyncio.create_task(worker.run(stop))
    while broker.committed["desk", OrderWanted.topic] < len(orders):
        await asyncio.sleep(0.01)
    stop.set()
    await working
    dead = len(broker.topics[OrderWanted.topic + DEAD])
    return {"handled": len(orders) - dead, "put aside": dead}
