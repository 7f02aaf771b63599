"""The deadline of a request, whatever the endpoint makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import httpx2
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from shop.http import WithinLimits
from shop.settings import Settings

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


async def is_cut_off(_scope: Scope, _receive: Receive, _send: Send) -> None:
    await asyncio.sleep(60)


async def fails_when_it_is_cut_off(_scope: Scope, _receive: Receive, _send: Send) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise AssertionError from None  # as psycopg does at the start of a pipeline


async def runs_out_of_time_itself(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise TimeoutError("a pool has no connection")


async def is_in_time(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("here it is")(scope, receive, send)


def answer(app: Application, monkeypatch: pytest.MonkeyPatch) -> httpx2.Response:
    for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.setenv(name, "nobody")
    limits = WithinLimits(app, Settings(shop_deadline=0.05))

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(limits)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.get("/orders/1")

    return anyio.run(ask)


@pytest.mark.parametrize("app", [is_cut_off, fails_when_it_is_cut_off])
def test_what_is_cut_off_is_late_whatever_it_says(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(app, monkeypatch).status_code == 504


def test_what_is_in_time_or_fails_by_itself_is_told_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert answer(is_in_time, monkeypatch).text == "here it is"
    with pytest.raises(TimeoutError, match="a pool has no connection"):
        answer(runs_out_of_time_itself, monkeypatch)
