"""The read model: a customer's newest orders as one list in Redis, for a page that is opened often.

It follows the events of orders, so it comes a moment after them. An event makes its customer's list
anew from the database, so that events which come twice, late or in another sequence do no harm; and
a list that Redis has lost is made by whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shop.cache import REMEMBERED, Cache
from shop.errors import Unavailable
from shop.messages import Envelope
from shop.orders.domain import Status
from shop.orders.events import OrderCancelled, OrderConfirmed, OrderPlaced, OrderShipped
from shop.orders.storage import OrderStore, Summary

FRESH = 300
"""Seconds for which a list is good, if no event comes."""


class Summaries:
    """The lists, each with the mark of its customer's last event.

    The mark is set before the database is read. A list with another mark than the last may have
    been read too early, and does not count, however late it was written.
    """

    def __init__(self, cache: Cache, store: OrderStore) -> None:
        self._cache, self._store = cache, store

    async def of(self, customer_id: str) -> Sequence[Summary]:
        """A customer's newest orders; from the database if Redis does not know."""
        mark, kept = await self._cache.get(f"changed:{customer_id}", f"orders:{customer_id}")
        if kept is None or kept["mark"] != mark:
            return await self._made(customer_id, mark)
        return [
            Summary(id, Status(status), datetime.fromisoformat(placed_at), total)
            for id, status, placed_at, total in kept["orders"]
        ]

    async def handle(self, envelope: Envelope) -> None:
        """Make the list anew that an event of an order has changed.

        Raises ``Unavailable`` while Redis is: it may know an old list, and must not show it later.
        """
        match envelope.message:
            case (
                OrderPlaced(customer_id=customer_id)
                | OrderConfirmed(customer_id=customer_id)
                | OrderShipped(customer_id=customer_id)
                | OrderCancelled(customer_id=customer_id)
            ):
                if not await self._cache.put({f"changed:{customer_id}": envelope.id}, REMEMBERED):
                    raise Unavailable("Redis does not answer.")
                await self._made(customer_id, envelope.id)

    async def _made(self, customer_id: str, mark: str | None) -> Sequence[Summary]:
        found = await self._store.summaries(customer_id)
        orders = [(each.id, each.status, each.placed_at.isoformat(), each.total) for each in found]
        await self._cache.put({f"orders:{customer_id}": {"mark": mark, "orders": orders}}, FRESH)
        return found
