"""The table of payments and its mapping."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text
from sqlalchemy.ext.asyncio import AsyncSession

from shop.database import mappers, metadata, one_of
from shop.payment.domain import Payment, State

payments = Table(
    "payments",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("amount", Integer, nullable=False),
    Column("state", one_of(State), nullable=False),
    Column("reason", Text, nullable=False),
)
mappers.map_imperatively(Payment, payments)


class PaymentStore:
    """Payments in the database, within one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, payment: Payment) -> None:
        """Keep a new payment."""
        self._session.add(payment)

    async def for_change(self, order_id: str) -> Payment | None:
        """The payment of an order, locked until the unit of work ends."""
        return await self._session.get(Payment, order_id, with_for_update=True)
