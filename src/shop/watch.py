"""The watch: how long the oldest of what waits has waited, asked by somebody who does none of it.

A part that stands still tells nothing, not even that. So another one looks at the outbox and at
each group's place in its topic, and exports both ages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from shop.broker import Broker, BrokerUnavailable
from shop.database import outbox
from shop.relay import pause
from shop.threads import Thread

PAUSE = 0.25
"""Seconds between two looks."""

OUTBOX = "outbox"

log = structlog.get_logger()


class Watch:
    """``oldest`` says for each place since when its oldest has waited; None where nothing waits.

    A place that does not answer stays as it was seen last: what waited there grows older.
    """

    def __init__(self, database: AsyncEngine, broker: Broker, groups: Mapping[str, str]) -> None:
        self.oldest: dict[str, float | None] = {}
        self._database, self._broker, self._groups = database, broker, groups

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again until ``stop``."""
        thread = Thread("watch")
        onlookers = {
            g: await thread.run(self._broker.onlooker, g, t) for g, t in self._groups.items()
        }
        asks = {g: partial(thread.run, onlooker.oldest) for g, onlooker in onlookers.items()}
        try:
            while not stop.is_set():
                await self._look({OUTBOX: self._unsent, **asks})
                await pause(stop, PAUSE)
        finally:
            for onlooker in onlookers.values():
                await thread.run(onlooker.close)
            thread.close()

    async def _look(self, asks: Mapping[str, Callable[[], Awaitable[float | None]]]) -> None:
        for place, ask in asks.items():
            try:
                self.oldest[place] = await ask()
            except (BrokerUnavailable, DBAPIError, PoolTimeout) as error:
                log.warning("No look at what waits", place=place, error=str(error))

    async def _unsent(self) -> float | None:
        async with self._database.connect() as connection:
            since = await connection.scalar(select(func.min(outbox.c.written_at)))
        return since.timestamp() if since else None
