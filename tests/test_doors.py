"""A hundred orders at two doors: what they are told, and which connections they leave open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from shop.messages import Envelope
from shoplab import Lab
from shoplab.doors import OrderWanted, Served, serve

pytestmark = pytest.mark.server


async def served(database_url: str) -> Served:
    engine = create_async_engine(database_url, pool_size=20)
    kept: list[AsyncConnection] = []
    app = FastAPI()

    async def place(quantities: dict[str, int]) -> None:
        connection = await engine.connect()
        if "rug" in quantities:
            kept.append(connection)
        else:
            await connection.close()

    @app.post("/orders", status_code=202)
    async def orders(wanted: dict[str, Any]) -> None:
        await place(wanted["quantities"])

    async def handle(envelope: Envelope) -> None:
        assert isinstance(envelope.message, OrderWanted)
        await place(envelope.message.quantities)

    run = await serve(engine, app, handle)
    for connection in kept:
        await connection.close()
    await engine.dispose()
    return run


def test_connections_that_are_kept_are_lost_and_the_others_are_not() -> None:
    with Lab("00-0", traced=False) as lab:
        run = asyncio.run(served(lab.database_url))
    assert run.told == {202: 50, "handled": 50, "put aside": 0}
    assert [use.by for use in run.uses].count("message") == 50
    # the test closed them, after all orders were through
    assert sum(use.end is not None and use.end > run.end for use in run.uses) == 10
