"""Nothing of the shop blocks its event loop. Calls are counted and not times: machines are busy."""

from __future__ import annotations

import asyncio
import builtins
import io
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from shop.__main__ import WORKERS, work_for
from shop.broker import Broker, confluent, kafka_python
from shop.http import application
from shop.payment.service import Bank
from shop.relay import Relay
from shop.settings import Settings
from shop.wiring import wire
from shoplab.reference import ReferenceShop


def always(*_arguments: Any, **_named: Any) -> bool:
    return True


def waits(connection: socket.socket, *_arguments: Any) -> bool:
    return connection.gettimeout() != 0


def is_not_the_loops(selector: selectors.BaseSelector, timeout: float | None = None) -> bool:
    loop: Any = asyncio.get_running_loop()
    return selector is not loop._selector and timeout != 0


def has_no_result_yet(future: Future[Any], timeout: float | None = None) -> bool:
    return not future.done()


SOCKET = ("accept", "connect", "recv", "recv_into", "recvfrom", "recvmsg", "send", "sendall")
BLOCKS: dict[tuple[Any, str], Callable[..., bool]] = {
    (time, "sleep"): always,
    (builtins, "open"): always,
    (io, "open"): always,
    (os, "open"): always,
    (socket, "getaddrinfo"): always,
    (subprocess.Popen, "wait"): always,
    (psycopg, "connect"): always,
    (psycopg.Connection, "wait"): always,
    (Future, "result"): has_no_result_yet,
    (selectors.DefaultSelector, "select"): is_not_the_loops,
    **{(socket.socket, name): waits for name in SOCKET},
    # a client in C does not go through any of these
    **{
        (kind, name): always
        for module in (kafka_python, confluent)
        for kind, names in (
            (module._Publisher, ("publish", "close")),
            (module._Subscriber, ("poll", "commit", "close")),
        )
        for name in ("__init__", *names)
    },
}
"""What keeps its thread waiting, and when it does."""

OPENED_ONCE = (AsyncEngine, Broker, Redis, Bank)
"""What may read certificates and the like at the start of a process."""


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of this test that have blocked a running event loop, and where they came from."""
    found: list[str] = []

    def watch(owner: Any, name: str, blocks: Callable[..., bool]) -> None:
        call = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            with suppress(RuntimeError):  # no event loop runs in this thread
                asyncio.get_running_loop()
                if blocks(*arguments, **named):
                    found.append(f"{name} by {caller()}")
            return call(*arguments, **named)

        monkeypatch.setattr(owner, name, watched)

    for (owner, name), blocks in BLOCKS.items():
        watch(owner, name, blocks)
    return found


def caller() -> str:
    """The innermost line of the shop's that led here, or of anybody's."""
    frames = []
    frame = sys._getframe(2)
    while frame is not None:
        frames.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return next((line for line in frames if "/src/shop/" in line), frames[0])


@pytest.fixture(params=["kafka-python", "confluent"])
def bank(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """Tables, topics and a bank; all else is for this process."""
    own = {"shop_broker": request.param, "shop_prefix": f"{settings.shop_prefix}{request.param}."}
    with ReferenceShop(settings.model_copy(update=own), parts=()) as program:
        yield program.settings


@pytest.mark.server
def test_from_the_request_to_the_last_message_nothing_blocks(
    bank: Settings, blocked: list[str]
) -> None:
    async def customer(shop: FastAPI) -> None:
        transport = httpx2.ASGITransport(shop)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
            assert (await client.get("/readyz")).status_code == 200
            for card, end in (("tok_1111", "shipped"), ("tok_0002", "cancelled")):
                wanted = {"customer_id": bank.shop_broker, "card": card, "quantities": {"lamp": 1}}
                key = {"Idempotency-Key": str(uuid4())}
                placed = await client.post("/orders", json=wanted, headers=key)
                while (await client.get(placed.headers["Location"])).json()["status"] != end:
                    await asyncio.sleep(0.05)
            orders = await client.get(f"/customers/{bank.shop_broker}/orders")
            assert len(orders.json()) == 2

    async def main() -> None:
        container, stop = wire(bank), asyncio.Event()
        database, broker, *_ = [await container.get(each) for each in OPENED_ONCE]
        relay = Relay(database, broker)
        blocked.clear()
        async with asyncio.timeout(120), asyncio.TaskGroup() as parts:
            parts.create_task(relay.run(stop))
            for context in WORKERS:
                parts.create_task(work_for(context, bank, container, stop))
            await customer(application(container, bank))
            stop.set()
        await container.close()

    asyncio.run(main(), debug=True)  # which raises if a thread calls the loop as only its own may
    assert blocked == []


def receive() -> bytes:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"!")
        return ours.recv(1)


def unanswered() -> None:
    with suppress(TimeoutError):
        Future[None]().result(timeout=0.01)


def connect() -> None:
    with suppress(psycopg.OperationalError):
        psycopg.connect("host=/nowhere")


def select() -> None:
    with selectors.DefaultSelector() as selector:
        selector.select(0.01)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: time.sleep(0), "sleep"),
        (lambda: Path(__file__).read_text(encoding="utf-8"), "open"),
        (receive, "recv"),
        (connect, "connect"),
        (unanswered, "result"),
        (select, "select"),
        (lambda: socket.getaddrinfo("127.0.0.1", 80), "getaddrinfo"),
    ],
)
def test_one_that_does_is_found_and_in_a_thread_it_may(
    call: Callable[[], object], name: str, blocked: list[str]
) -> None:
    async def elsewhere() -> None:
        await asyncio.to_thread(call)

    async def here() -> None:
        call()

    asyncio.run(elsewhere())
    assert blocked == []
    asyncio.run(here())
    assert f"{name} by" in " ".join(blocked)
