"""The three services: what each makes of a message that comes twice, late, or to the wrong one."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from shop.doubles import (
    BankDouble,
    FixedPrices,
    MemoryDatabase,
    MemoryInventory,
    MemoryOrders,
    MemoryPayments,
    MemoryUnit,
    now,
)
from shop.inventory.events import Pack, Release, Reserve
from shop.inventory.service import Inventory
from shop.messages import Envelope, Message, opened
from shop.orders.domain import InvalidOrder
from shop.orders.events import OrderPlaced, StepAnswered
from shop.orders.service import FollowOrder, PlaceOrder
from shop.payment.events import Authorise, Capture, Void
from shop.payment.service import Payments

AUTHORISE = Authorise(order_id="1", amount=4900, card="tok_1111")
RESERVE = Reserve(order_id="1", quantities={"lamp": 2})


class Shop:
    """The services on a database in memory; what each has sent since the last question."""

    def __init__(self) -> None:
        self.database, self.bank = MemoryDatabase(lamp=5), BankDouble()

    def place(self, **wanted: Any) -> list[Message]:
        unit = MemoryUnit(self.database)
        service = PlaceOrder(unit, MemoryOrders(unit), FixedPrices())
        wanted = {"customer_id": "mary", "card": "tok_1111", "key": "a key"} | wanted
        now(service(**wanted))
        return self._sent()

    def tell(self, who: str, message: Message, envelope_id: str = "") -> list[Message]:
        unit = MemoryUnit(self.database)
        service = {
            "orders": FollowOrder(unit, MemoryOrders(unit)),
            "payment": Payments(unit, MemoryPayments(unit), self.bank),
            "inventory": Inventory(unit, MemoryInventory(unit)),
        }[who]
        now(service.handle(Envelope(envelope_id or str(uuid4()), message)))
        return self._sent()

    def _sent(self) -> list[Message]:
        sent = [opened(record).message for record in self.database.rows.outbox]
        self.database.rows.outbox.clear()
        return sent


@pytest.fixture
def shop() -> Shop:
    return Shop()


def answer(step: str, *, undo: bool = False, refused: str = "") -> list[Message]:
    return [StepAnswered(order_id="1", step=step, undo=undo, refused=refused)]


def test_an_order_of_what_there_is_not_is_refused_by_its_name(shop: Shop) -> None:
    with pytest.raises(InvalidOrder, match="There is no 'chair'"):
        shop.place(quantities={"lamp": 1, "unicorn": 1, "chair": 1})
    assert shop.database.rows.orders == {}


def test_a_key_places_one_order_and_tells_of_it_once(shop: Shop) -> None:
    placed, reserve = shop.place(quantities={"lamp": 2})
    assert placed == OrderPlaced(order_id=placed.order_id, customer_id="mary", total=9800)
    assert reserve == Reserve(order_id=placed.order_id, quantities={"lamp": 2})
    assert shop.place(quantities={"lamp": 2}) == []


def test_an_answer_that_comes_twice_goes_on_once(shop: Shop) -> None:
    placed, _reserve = shop.place(quantities={"lamp": 2})
    reserved = StepAnswered(order_id=placed.order_id, step="reserve")
    [authorise] = shop.tell("orders", reserved, "the same")
    assert authorise == Authorise(order_id=placed.order_id, amount=9800, card="tok_1111")
    assert shop.tell("orders", reserved, "the same") == []


def test_an_answer_about_an_order_that_there_is_not_is_an_error(shop: Shop) -> None:
    with pytest.raises(LookupError, match="No order 1"):
        shop.tell("orders", answer("reserve")[0])


@pytest.mark.parametrize("who", ["orders", "payment", "inventory"])
def test_what_is_meant_for_another_is_left_alone(shop: Shop, who: str) -> None:
    strange = {"orders": AUTHORISE, "payment": RESERVE, "inventory": AUTHORISE}[who]
    before = vars(shop.database.rows).copy()
    assert shop.tell(who, strange) == []
    assert vars(shop.database.rows) == before


@pytest.mark.parametrize(
    ("who", "message"),
    [("payment", AUTHORISE), ("payment", Void(order_id="1")), ("inventory", RESERVE)],
)
def test_what_comes_twice_is_answered_once(shop: Shop, who: str, message: Message) -> None:
    assert len(shop.tell(who, message, "the same")) == 1
    assert shop.tell(who, message, "the same") == []
    assert shop.database.rows.free["lamp"] == (3 if who == "inventory" else 5)


def test_the_same_command_by_another_message_gets_the_same_answer(shop: Shop) -> None:
    assert [shop.tell("payment", AUTHORISE) for _ in range(2)] == [answer("authorise")] * 2
    assert [shop.tell("inventory", RESERVE) for _ in range(2)] == [answer("reserve")] * 2
    assert shop.bank.authorised == {"1": 4900}
    assert shop.database.rows.free["lamp"] == 3


def test_money_is_set_aside_taken_and_answered_for(shop: Shop) -> None:
    assert shop.tell("payment", AUTHORISE) == answer("authorise")
    assert shop.tell("payment", Capture(order_id="1")) == answer("capture")
    assert shop.bank.captured == {"1": 4900}
    assert shop.database.rows.payments["1"].amount == 4900


def test_a_card_that_the_bank_declines_is_refused_with_its_reason(shop: Shop) -> None:
    declined = AUTHORISE.model_copy(update={"card": "tok_0002"})
    assert shop.tell("payment", declined) == answer("authorise", refused="The card was declined.")
    assert shop.tell("payment", Void(order_id="1")) == answer("authorise", undo=True)
    assert shop.database.rows.payments["1"].state == "declined"


def test_money_that_was_set_free_before_it_was_set_aside_stays_free(shop: Shop) -> None:
    assert shop.tell("payment", Void(order_id="1")) == answer("authorise", undo=True)
    refused = answer("authorise", refused="It was cancelled before.")
    assert shop.tell("payment", AUTHORISE) == refused
    assert shop.database.rows.payments["1"].state == "voided"


def test_a_bank_that_has_forgotten_what_was_set_free_is_told_again(shop: Shop) -> None:
    shop.tell("payment", Void(order_id="1"))
    shop.bank.voided.clear()
    shop.tell("payment", AUTHORISE)
    assert (shop.bank.authorised, shop.bank.voided) == ({"1": 4900}, {"1"})


def test_goods_that_were_released_before_they_were_reserved_stay_free(shop: Shop) -> None:
    assert shop.tell("inventory", Release(order_id="1")) == answer("reserve", undo=True)
    shop.tell("inventory", RESERVE)
    assert shop.database.rows.reservations["1"].state == "released"
    assert shop.database.rows.free["lamp"] == 5


def test_too_few_are_refused_by_name_and_all_stay(shop: Shop) -> None:
    many = Reserve(order_id="1", quantities={"lamp": 6})
    assert shop.tell("inventory", many) == answer("reserve", refused="Too few of 'lamp' are left.")
    assert shop.tell("inventory", Release(order_id="1")) == answer("reserve", undo=True)
    assert shop.database.rows.free["lamp"] == 5


def test_a_step_that_cannot_be_is_an_error_and_leaves_no_trace(shop: Shop) -> None:
    shop.tell("inventory", Release(order_id="1"))
    with pytest.raises(Exception, match="that are released cannot be packed"):
        shop.tell("inventory", Pack(order_id="1"))
    assert shop.database.rows.reservations["1"].state == "released"
