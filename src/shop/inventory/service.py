"""What inventory does when it is told to, and what it answers when it is asked for prices."""

from __future__ import annotations

from shop import logs
from shop.database import UnitOfWork
from shop.inventory.domain import Reservation, State
from shop.inventory.events import Pack, Release, Reserve, Ship, Unpack
from shop.inventory.storage import InventoryStore
from shop.messages import Envelope
from shop.orders.events import StepAnswered

CONTEXT = "inventory"


class Inventory:
    """Handles the commands to inventory, one unit of work each."""

    def __init__(self, unit: UnitOfWork, store: InventoryStore) -> None:
        self._unit, self._store = unit, store

    async def handle(self, envelope: Envelope) -> None:
        """Carry a command out, and answer."""
        told = envelope.message
        if not isinstance(told, Reserve | Release | Pack | Unpack | Ship):
            return
        if not await self._unit.first_time(CONTEXT, envelope.id):
            return
        reservation = await self._store.for_change(told.order_id)
        if reservation is None:
            # undone before it was ever done: what comes later must find it so
            reservation = Reservation(told.order_id, State.RELEASED)
            if isinstance(told, Reserve):
                reservation = await self._reserve(told)
            self._store.add(reservation)
        match told:
            case Reserve():
                answer = self._answered(told.order_id, "reserve", refused=reservation.reason)
            case Release():
                if reservation.release():
                    await self._store.give_back(reservation.quantities)
                answer = self._answered(told.order_id, "reserve", undo=True)
            case Pack():
                reservation.pack()
                answer = self._answered(told.order_id, "pack")
            case Unpack():
                reservation.unpack()
                answer = self._answered(told.order_id, "pack", undo=True)
            case Ship():
                reservation.ship()
                answer = self._answered(told.order_id, "ship")
        logs.say(**answer.told())
        await self._unit.send(answer, source=CONTEXT)
        await self._unit.commit()

    async def _reserve(self, told: Reserve) -> Reservation:
        if missing := await self._store.take(told.quantities):
            return Reservation(
                told.order_id, State.REFUSED, {}, f"Too few of {missing!r} are left."
            )
        return Reservation(told.order_id, State.RESERVED, dict(told.quantities))

    @staticmethod
    def _answered(
        order_id: str, step: str, *, undo: bool = False, refused: str = ""
    ) -> StepAnswered:
        return StepAnswered(order_id=order_id, step=step, undo=undo, refused=refused)
