"""The shop's HTTP face, the whole pipeline in this process, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from shop.database import address
from shop.http import application
from shop.settings import Settings
from shop.wiring import wire
from shoplab.ports import free_ports

pytestmark = pytest.mark.server

WANTED = {"customer_id": "mary", "card": "tok_1111", "quantities": {"lamp": 2}}


@pytest.fixture(scope="module", autouse=True)
def _lamps(settings: Settings) -> None:
    engine = create_engine(address(settings))
    with engine.begin() as transaction:
        transaction.execute(text("INSERT INTO stock VALUES ('lamp', 4900, 10)"))
    engine.dispose()


@asynccontextmanager
async def customer(settings: Settings) -> AsyncIterator[tuple[httpx2.AsyncClient, FastAPI]]:
    app = application(wire(settings), settings)
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        yield client, app


def ask(
    settings: Settings, questions: Callable[[httpx2.AsyncClient, FastAPI], Awaitable[Any]]
) -> Any:
    async def main() -> Any:
        async with customer(settings) as (client, app):
            return await questions(client, app)

    return asyncio.run(main())


def place(client: httpx2.AsyncClient, key: str, **other: Any) -> Awaitable[httpx2.Response]:
    return client.post("/orders", json=WANTED | other, headers={"Idempotency-Key": key})


def test_an_order_is_accepted_and_found_by_its_customer(settings: Settings) -> None:
    async def questions(client: httpx2.AsyncClient, _app: FastAPI) -> None:
        placed = await place(client, "key-found")
        assert placed.status_code == 202
        assert placed.headers["Location"] == f"/orders/{placed.json()['id']}"
        assert (await client.get(placed.headers["Location"])).json() == placed.json()
        [summary] = (await client.get("/customers/mary/orders")).json()
        assert (summary["id"], summary["total"]) == (placed.json()["id"], 9800)

    ask(settings, questions)


@pytest.mark.parametrize(
    ("key", "other", "status"),
    [
        ("key-many", {"quantities": {"lamp": 0}}, 422),
        ("key-none", {"quantities": {}}, 422),
        ("key-odd-", {"customer_id": "../etc"}, 422),
        ("short", {}, 422),
        ("key-unicorn", {"quantities": {"unicorn": 1}}, 400),
    ],
)
def test_what_cannot_be_is_refused_and_says_why(
    settings: Settings, key: str, other: dict[str, Any], status: int
) -> None:
    answer = ask(settings, lambda client, _app: place(client, key, **other))
    assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)


def test_many_with_one_key_at_the_same_time_place_one_order(settings: Settings) -> None:
    async def questions(client: httpx2.AsyncClient, _app: FastAPI) -> set[str]:
        answers = await asyncio.gather(*[place(client, "key-of-all") for _ in range(10)])
        assert {answer.status_code for answer in answers} == {202}
        return {answer.json()["id"] for answer in answers}

    assert len(ask(settings, questions)) == 1


def test_without_redis_all_goes_on(settings: Settings) -> None:
    [nobody] = free_ports(1)
    away = SecretStr(f"redis://127.0.0.1:{nobody}")

    async def questions(client: httpx2.AsyncClient, _app: FastAPI) -> None:
        first, again = await place(client, "key-no-redis"), await place(client, "key-no-redis")
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json()["id"] == again.json()["id"]
        listed = (await client.get("/customers/mary/orders")).json()
        assert listed[0]["id"] == first.json()["id"]

    ask(settings.model_copy(update={"redis_url": away}), questions)


def test_without_its_database_it_is_alive_and_not_ready(settings: Settings) -> None:
    away = SecretStr("postgresql:///nothing?host=/nowhere")

    async def questions(client: httpx2.AsyncClient, _app: FastAPI) -> None:
        assert (await client.get("/livez")).status_code == 200
        for path in ("/readyz", "/orders/1"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")

    ask(settings.model_copy(update={"database_url": away}), questions)


def test_whoever_there_is_no_room_for_is_told_soon(settings: Settings) -> None:
    narrow = settings.model_copy(update={"shop_requests": 1})

    async def questions(client: httpx2.AsyncClient, _app: FastAPI) -> list[int]:
        answers = await asyncio.gather(*[client.get("/customers/m/orders") for _ in range(4)])
        return sorted(answer.status_code for answer in answers)

    assert ask(narrow, questions) == [200, 503, 503, 503]


def test_what_takes_too_long_ends_and_its_key_may_come_again(settings: Settings) -> None:
    hurried = settings.model_copy(update={"shop_deadline": 0.5})
    engine = create_engine(address(settings))

    async def questions(client: httpx2.AsyncClient, _app: FastAPI) -> None:
        with engine.connect() as elsewhere:
            elsewhere.execute(text("LOCK TABLE orders"))
            began = monotonic()
            assert (await place(client, "key-hurried")).status_code == 504
            # the endpoint has ended as well, long before the database's own limit would end it
            assert monotonic() - began < settings.shop_bank_deadline / 2
        assert (await place(client, "key-hurried")).status_code == 202

    ask(hurried, questions)
    engine.dispose()


def test_one_that_ends_is_not_ready(settings: Settings) -> None:
    async def questions(client: httpx2.AsyncClient, app: FastAPI) -> list[int]:
        before = await client.get("/readyz")
        app.state.draining = True
        return [before.status_code, (await client.get("/readyz")).status_code]

    assert ask(settings, questions) == [200, 503]
