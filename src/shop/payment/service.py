"""What payment does when it is told to. The bank decides; we remember."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shop import logs
from shop.database import UnitOfWork
from shop.messages import Envelope
from shop.orders.events import StepAnswered
from shop.payment.domain import Payment, State
from shop.payment.events import Authorise, Capture, Void
from shop.payment.storage import PaymentStore

CONTEXT = "payment"


@dataclass(frozen=True)
class Decision:
    """What the bank says; ``declined`` has its reason, or is empty."""

    declined: str = ""


class Bank(Protocol):
    """A bank. Each ``key`` does its work once, however often it is sent.

    Raises ``shop.errors.Unavailable`` if it does not answer in time.
    """

    async def authorise(self, key: str, amount: int, card: str) -> Decision:
        """Set so many cents aside."""

    async def capture(self, key: str) -> None:
        """Take what was set aside."""

    async def void(self, key: str) -> None:
        """Set it free."""


class Payments:
    """Handles the commands to payment, one unit of work each.

    The bank is asked before the unit of work begins: nothing in the database is locked while
    somebody else takes his time. If we die in between, the bank is asked again with the same key.
    """

    def __init__(self, unit: UnitOfWork, store: PaymentStore, bank: Bank) -> None:
        self._unit, self._store, self._bank = unit, store, bank

    async def handle(self, envelope: Envelope) -> None:
        """Carry a command out, and answer."""
        match envelope.message:
            case Authorise() as told:
                await self._authorise(envelope, told)
            case Void(order_id=order_id):
                await self._bank.void(order_id)
                await self._change(envelope, "authorise", undo=True)
            case Capture(order_id=order_id):
                await self._bank.capture(order_id)
                await self._change(envelope, "capture")

    async def _authorise(self, envelope: Envelope, told: Authorise) -> None:
        decision = await self._bank.authorise(told.order_id, told.amount, told.card)
        if not await self._unit.first_time(CONTEXT, envelope.id):
            return
        payment = await self._store.for_change(told.order_id)
        if payment is None:
            state = State.DECLINED if decision.declined else State.AUTHORISED
            payment = Payment(told.order_id, told.amount, state, decision.declined)
            self._store.add(payment)
        elif payment.state is State.VOIDED:  # it was undone before we came to it
            await self._bank.void(told.order_id)
            payment.reason = "It was cancelled before."
        await self._answer(envelope, "authorise", refused=payment.reason)

    async def _change(self, envelope: Envelope, step: str, *, undo: bool = False) -> None:
        if not await self._unit.first_time(CONTEXT, envelope.id):
            return
        payment = await self._store.for_change(envelope.message.order_id)
        if payment is None:
            # undone before it was ever done: what comes later must find it so
            payment = Payment(envelope.message.order_id, 0, State.VOIDED)
            self._store.add(payment)
        if undo:
            payment.void()
        else:
            payment.capture()
        await self._answer(envelope, step, undo=undo)

    async def _answer(
        self, envelope: Envelope, step: str, *, undo: bool = False, refused: str = ""
    ) -> None:
        answer = StepAnswered(
            order_id=envelope.message.order_id, step=step, undo=undo, refused=refused
        )
        logs.say(**answer.told())
        await self._unit.send(answer, source=CONTEXT)
        await self._unit.commit()
