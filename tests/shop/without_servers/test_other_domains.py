"""Payments and reservations: what may follow what."""

from __future__ import annotations

import pytest

from shop.inventory import domain as goods
from shop.inventory.domain import Reservation
from shop.payment import domain as money
from shop.payment.domain import Payment

PAYMENT_MOVES = {
    ("authorised", "capture"): "captured",
    ("authorised", "void"): "voided",
    ("captured", "capture"): "captured",
    ("captured", "void"): None,
    ("declined", "capture"): None,
    ("declined", "void"): "declined",
    ("voided", "capture"): None,
    ("voided", "void"): "voided",
}
GOODS_MOVES = {
    ("reserved", "pack"): "packed",
    ("reserved", "unpack"): "reserved",
    ("reserved", "ship"): None,
    ("reserved", "release"): "released",
    ("refused", "pack"): None,
    ("refused", "unpack"): None,
    ("refused", "ship"): None,
    ("refused", "release"): "refused",
    ("packed", "pack"): "packed",
    ("packed", "unpack"): "reserved",
    ("packed", "ship"): "shipped",
    ("packed", "release"): None,
    ("shipped", "pack"): None,
    ("shipped", "unpack"): None,
    ("shipped", "ship"): "shipped",
    ("shipped", "release"): None,
    ("released", "pack"): None,
    ("released", "unpack"): "released",
    ("released", "ship"): None,
    ("released", "release"): "released",
}


@pytest.mark.parametrize(("state", "move"), PAYMENT_MOVES)
def test_a_payment_moves_only_as_money_can(state: str, move: str) -> None:
    payment = Payment("1", 4900, money.State(state))
    if (expected := PAYMENT_MOVES[state, move]) is None:
        with pytest.raises(money.ImpossibleStep) as refused:
            getattr(payment, move)()
        moved = {"capture": "captured", "void": "voided"}[move]
        assert str(refused.value) == f"A payment that is {state} cannot be {moved}."
        expected = state
    else:
        getattr(payment, move)()
    assert (payment.state, payment.reason) == (expected, "")


@pytest.mark.parametrize(("state", "move"), GOODS_MOVES)
def test_goods_move_only_as_goods_can(state: str, move: str) -> None:
    reservation = Reservation("1", goods.State(state), {"lamp": 1})
    if (expected := GOODS_MOVES[state, move]) is None:
        with pytest.raises(goods.ImpossibleStep) as refused:
            getattr(reservation, move)()
        moved = {"pack": "packed", "unpack": "reserved", "ship": "shipped", "release": "released"}
        assert str(refused.value) == f"Goods that are {state} cannot be {moved[move]}."
        expected = state
    else:
        getattr(reservation, move)()
    assert (reservation.state, reservation.reason) == (expected, "")


@pytest.mark.parametrize("state", ["reserved", "refused", "released"])
def test_goods_are_counted_as_free_again_once(state: str) -> None:
    reservation = Reservation("1", goods.State(state), {"lamp": 1})
    assert [reservation.release(), reservation.release()] == [state == "reserved", False]
