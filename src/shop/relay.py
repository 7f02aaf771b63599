"""The relay: sends what the outbox holds, in its sequence, and then forgets it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from shop.broker import Broker, BrokerUnavailable
from shop.database import outbox
from shop.messages import Record
from shop.telemetry import calling, sent
from shop.threads import Thread

BATCH = 500
PAUSE = 0.05
"""Seconds between two looks into an empty outbox."""

ALONE = func.pg_try_advisory_xact_lock(func.hashtext(func.current_schema() + ".outbox"))
"""The lock that a relay holds while it sends: of several that run, one works and the rest wait."""

Publish = Callable[[Sequence[Record]], Awaitable[None]]

log = structlog.get_logger()


class Relay:
    """Sends the outbox's records until it is told to stop.

    A record is deleted after the broker has acknowledged it. If we die in between, it is sent
    again: at least once, which is why there is an inbox.
    """

    def __init__(self, database: AsyncEngine, broker: Broker) -> None:
        self._database, self._broker = database, broker

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``. What is in the outbox then stays there for the next relay."""
        thread = Thread("relay")
        publisher = await thread.run(self._broker.publisher)
        try:
            while not stop.is_set():
                try:
                    done = await self.step(lambda records: thread.run(publisher.publish, records))
                except (BrokerUnavailable, DBAPIError) as error:
                    log.warning("Not sent, to be tried again", error=str(error))
                    done = 0
                if done < BATCH:
                    await pause(stop, PAUSE)
        finally:
            await thread.run(publisher.close)
            thread.close()

    async def step(self, publish: Publish) -> int:
        """Send up to ``BATCH`` records; how many."""
        async with self._database.begin() as transaction:
            if not await transaction.scalar(select(ALONE)):
                return 0
            oldest = select(outbox).order_by(outbox.c.sequence).limit(BATCH)
            rows = (await transaction.execute(oldest)).all()
            if rows:
                records = [Record(r.topic, r.key, r.value, r.headers) for r in rows]
                with calling("kafka", "publish"):
                    await publish(records)
                for record, row in zip(records, rows, strict=True):
                    sent(record, row.written_at)
                    log.info("Sent", **about(record, row.written_at))
                numbers = [row.sequence for row in rows]
                await transaction.execute(delete(outbox).where(outbox.c.sequence.in_(numbers)))
            return len(rows)


def about(record: Record, written: datetime) -> dict[str, Any]:
    """What the log says of a message that was sent, and how long it had waited for that."""
    waited = datetime.now(UTC) - written
    said = {"order_id": record.key, "message": record.headers.get("ce_type", "")}
    if trace := record.headers.get("ce_traceparent"):
        said["trace_id"] = trace.split("-")[1]
    return said | {"milliseconds": round(1000 * waited.total_seconds(), 1)}


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until ``stop``."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
