"""A worker: handles a context's messages, each once in its effect, and each order's in sequence."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

import stamina
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shop import logs
from shop.broker import Broker, BrokerUnavailable, Received, Subscriber
from shop.errors import Unavailable
from shop.messages import Envelope, Record, opened
from shop.relay import pause
from shop.telemetry import handling
from shop.threads import Thread

TRIES = 3
"""How often a message is tried before it is put aside, if it alone is to blame."""

DEAD = ".dead"
"""What is put after a topic's name for what could not be handled."""

Handle = Callable[[Envelope], Awaitable[None]]

log = structlog.get_logger()


class Worker:
    """Handles the messages of ``topic`` for the group ``name``, until it is told to stop.

    Orders are handled side by side, ``at_a_time`` of them, and the messages of one order one after
    the other. Offsets are committed when all that was polled is handled: if we die before, it comes
    again, and the inbox knows what was done. While the database, the bank or the broker is away,
    the worker waits and tries again, until it is told to stop: then it leaves to the next worker
    what it could not handle. A message that cannot be handled otherwise is put aside.
    """

    def __init__(
        self, name: str, topic: str, broker: Broker, handle: Handle, at_a_time: int
    ) -> None:
        self.name, self.topic = name, topic
        self._broker, self._handle = broker, handle
        self._room = asyncio.Semaphore(at_a_time)
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``; what was polled by then is finished and committed, if it can be."""
        self._stop = stop
        reading, writing = Thread(f"{self.name}-reads"), Thread(f"{self.name}-writes")
        subscriber = await reading.run(self._broker.subscriber, self.name, [self.topic])
        publisher = await writing.run(self._broker.publisher)

        async def put_aside(record: Record) -> bool:
            return await self._done(lambda: writing.run(publisher.publish, [record]))

        try:
            while not stop.is_set():
                await self._round(reading, subscriber, put_aside)
        finally:
            await reading.run(subscriber.close)
            await writing.run(publisher.close)
            reading.close()
            writing.close()

    async def _round(
        self,
        reading: Thread,
        subscriber: Subscriber,
        put_aside: Callable[[Record], Awaitable[bool]],
    ) -> None:
        try:
            received = await reading.run(subscriber.poll, 0.25)
        except BrokerUnavailable as error:
            log.warning("Nothing could be read, to be tried again", error=str(error))
            await pause(self._stop, 0.5)
            return
        if not received:
            return
        by_order: dict[str, list[Received]] = defaultdict(list)
        for each in received:
            by_order[each.record.key].append(each)
        async with asyncio.TaskGroup() as tasks:
            orders = [
                tasks.create_task(self._one_after_the_other(messages, put_aside))
                for messages in by_order.values()
            ]
        if all(order.result() for order in orders):
            await self._done(lambda: reading.run(subscriber.commit))

    async def _one_after_the_other(
        self, messages: Sequence[Received], put_aside: Callable[[Record], Awaitable[bool]]
    ) -> bool:
        """Handle an order's messages; whether all are dealt with."""
        async with self._room:
            for each in messages:
                try:
                    envelope = opened(each.record)
                    told = envelope.message
                    about = {"order_id": told.order_id, "message": told.kind(), "group": self.name}
                    with handling(envelope, self.name), logs.line("Handled", **about):
                        if not (done := await self._tried(envelope)):
                            logs.say(outcome="left to the next worker")
                except Exception as error:  # whatever it is, the next must go on
                    reason = f"{type(error).__name__}: {error}"
                    log.exception("Put aside", order_id=each.record.key, reason=reason)
                    headers = each.record.headers | {"reason": reason, "group": self.name}
                    dead = Record(self.topic + DEAD, each.record.key, each.record.value, headers)
                    done = await put_aside(dead)
                if not done:
                    return False
        return True

    async def _tried(self, envelope: Envelope) -> bool:
        done = False
        async for attempt in stamina.retry_context(
            on=lambda error: not away(error), attempts=TRIES, wait_initial=0.05
        ):
            with attempt:
                done = await self._done(lambda: self._handle(envelope))
        return done

    async def _done(self, call: Callable[[], Awaitable[None]]) -> bool:
        """Try again for as long as something that we need is away; False if we stop before."""
        try:
            async for attempt in stamina.retry_context(
                on=lambda error: away(error) and not self._stop.is_set(),
                attempts=None,
                timeout=None,
                wait_initial=0.1,
                wait_max=2.0,
            ):
                with attempt:
                    await call()
        except Exception as error:
            if not away(error):
                raise
            return False
        return True


def away(error: Exception) -> bool:
    """Whether something that we need is not there, and no message is to blame."""
    lost = isinstance(error, DBAPIError) and (
        error.connection_invalidated or type(error).__name__ == "OperationalError"
    )
    return lost or isinstance(error, Unavailable | PoolTimeout)
