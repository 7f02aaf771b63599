"""The tables of inventory, and the one statement that all orders compete in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import CheckConstraint, Column, Integer, Table, Text, select, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from shop.database import mappers, metadata, one_of
from shop.inventory.domain import Reservation, State

stock = Table(
    "stock",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("price", Integer, nullable=False),
    Column("free", Integer, CheckConstraint("free >= 0", name="stock_free_check"), nullable=False),
)
reservations = Table(
    "reservations",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("state", one_of(State), nullable=False),
    Column("quantities", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
)
mappers.map_imperatively(Reservation, reservations)

# By hand: compared and counted down in one statement, a row is locked for as short as can be. Read
# first and written back later, it would be locked for two round trips.
TAKE = text("UPDATE stock SET free = free - :quantity WHERE sku = :sku AND free >= :quantity")
GIVE_BACK = text("UPDATE stock SET free = free + :quantity WHERE sku = :sku")


class InventoryStore:
    """Stock and reservations in the database, within one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, reservation: Reservation) -> None:
        """Keep a new reservation."""
        self._session.add(reservation)

    async def for_change(self, order_id: str) -> Reservation | None:
        """The reservation of an order, locked until the unit of work ends."""
        return await self._session.get(Reservation, order_id, with_for_update=True)

    async def take(self, quantities: Mapping[str, int]) -> str:
        """Count the articles down, all or none; the first of which too few are left, or ''.

        Always in the sequence of their names, so that two orders never wait for each other.
        """
        async with self._session.begin_nested() as all_or_none:
            for sku, quantity in sorted(quantities.items()):
                done = await self._session.execute(TAKE, {"sku": sku, "quantity": quantity})
                if not done.rowcount:  # type: ignore[attr-defined]
                    await all_or_none.rollback()
                    return sku
        return ""

    async def give_back(self, quantities: Mapping[str, int]) -> None:
        """Count the articles up again."""
        for sku, quantity in sorted(quantities.items()):
            await self._session.execute(GIVE_BACK, {"sku": sku, "quantity": quantity})

    async def prices(self, skus: Iterable[str]) -> dict[str, int]:
        """The price of each article that we have, in cents."""
        rows = await self._session.execute(
            select(stock.c.sku, stock.c.price).where(stock.c.sku.in_(list(skus)))
        )
        return {row.sku: row.price for row in rows}

    async def stock_up(self, sku: str, price: int, free: int) -> None:
        """Have so many of an article, at this price."""
        row = insert(stock).values(sku=sku, price=price, free=free)
        await self._session.execute(
            row.on_conflict_do_update(index_elements=["sku"], set_={"price": price, "free": free})
        )
