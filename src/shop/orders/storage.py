"""The tables of orders, their mapping, and the two ways to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    func,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import relationship, selectinload

from shop.database import mappers, metadata, one_of
from shop.orders.domain import PIVOT, Line, Order, Status

orders = Table(
    "orders",
    metadata,
    Column("id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("card", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("placed_at", DateTime(timezone=True), nullable=False),
    Column("status", one_of(Status), nullable=False),
    Column("step", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Index("orders_customer_id_placed_at_idx", "customer_id", "placed_at"),
)
UNPAID = text("status = 'placed'")
Index("orders_unpaid_idx", orders.c.placed_at, postgresql_where=UNPAID)
lines = Table(
    "order_lines",
    metadata,
    Column("order_id", ForeignKey("orders.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sku", Text, nullable=False),
    Column(
        "quantity",
        Integer,
        CheckConstraint("quantity > 0", name="order_lines_quantity_check"),
        nullable=False,
    ),
    Column("price", Integer, nullable=False),
)

mappers.map_imperatively(Line, lines, properties={"_order_id": lines.c.order_id})
mappers.map_imperatively(
    Order,
    orders,
    properties={
        "lines": relationship(
            Line,
            order_by=lines.c.number,
            lazy="raise",  # a query for each order's lines is asked for by name, or not at all
            cascade="all, delete-orphan",
        )
    },
)


LINES = selectinload(Order.lines)  # type: ignore[arg-type]
"""The lines of all orders of a query, by one query more."""


@dataclass(frozen=True)
class Summary:
    """An order as a list shows it; ``total`` in cents."""

    id: str
    status: Status
    placed_at: datetime
    total: int


# The orders are picked first, and only theirs are the lines that are read and added up. Joined and
# grouped, the lines of all that a customer has ever ordered would be.
SUMMARIES = text("""
    SELECT id, status, placed_at,
        (SELECT sum(quantity * price) FROM order_lines WHERE order_id = id) AS total
    FROM orders
    WHERE customer_id = :customer_id
    ORDER BY placed_at DESC LIMIT :limit
""")


class OrderStore:
    """Orders in the database, within one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, order: Order) -> Order:
        """Keep a new order; the one that is kept: this, or the one that its key placed before."""
        for number, line in enumerate(order.lines):
            line.number = number  # type: ignore[attr-defined]  # a column, and none of the domain's
        try:
            async with self._session.begin_nested():
                self._session.add(order)
        except IntegrityError:
            key = orders.c.idempotency_key == order.idempotency_key
            before = (await self._session.scalars(select(Order).where(key))).first()
            if before is None:
                raise
            return before
        return order

    async def for_change(self, order_id: str) -> Order | None:
        """An order, locked until the unit of work ends."""
        return await self._session.get(Order, order_id, with_for_update=True, options=[LINES])

    async def late(self, seconds: float, limit: int = 50) -> Sequence[Order]:
        """The unpaid orders that have waited longer than so many seconds, locked."""
        oldest = func.now() - timedelta(seconds=seconds)
        return (
            await self._session.scalars(
                select(Order)
                .options(LINES)
                .where(orders.c.status == Status.PLACED, orders.c.placed_at < oldest)
                .where(orders.c.step < PIVOT)
                .order_by(orders.c.placed_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
        ).all()

    async def find(self, order_id: str) -> Order | None:
        """An order without its lines, as it is now."""
        return await self._session.get(Order, order_id)

    async def summaries(self, customer_id: str, limit: int = 20) -> list[Summary]:
        """A customer's newest orders. Read often and changed by nobody: rows, and no objects."""
        parameters = {"customer_id": customer_id, "limit": limit}
        rows = (await self._session.execute(SUMMARIES, parameters)).mappings()
        return [Summary(**(dict(row) | {"status": Status(row["status"])})) for row in rows]
