"""An order's saga, step by step."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shop.inventory.events import Pack, Release, Reserve, Ship, Unpack
from shop.orders.domain import PIVOT, STEPS, Answer, Instruction, InvalidOrder, Line, Order, Status
from shop.orders.service import command
from shop.payment.events import Authorise, Capture, Void


def placed(*lines: Line) -> Order:
    now = datetime(2026, 11, 27, tzinfo=UTC)
    return Order("1", "mary", "tok_1", "key", now, list(lines or [Line("lamp", 2, 4900)]))


def after(steps: int) -> Order:
    order = placed()
    for step in STEPS[:steps]:
        order.heard(Answer(step))
    return order


def test_the_total_is_what_all_lines_cost_together() -> None:
    assert placed(Line("lamp", 2, 4900), Line("rug", 1, 8900)).total == 18700


@pytest.mark.parametrize("quantities", [[], [0], [2, -1]])
def test_an_order_of_nothing_is_none(quantities: list[int]) -> None:
    order = Order("1", "mary", "tok_1", "key", datetime(2026, 11, 27, tzinfo=UTC))
    order.lines += [Line("lamp", quantity, 4900) for quantity in quantities]
    with pytest.raises(InvalidOrder) as refused:
        order.begin()
    assert str(refused.value) == "An order has one line or more, each for one article or more."


def test_an_order_of_one_article_is_one() -> None:
    assert placed(Line("lamp", 1, 4900)).begin() == Instruction(STEPS[0])


def test_customers_and_the_database_have_words_for_how_far_it_is() -> None:
    assert list(Status) == ["placed", "confirmed", "shipped", "cancelling", "cancelled"]
    assert (placed().status, placed().step, placed().reason) == ("placed", 0, "")


def test_every_step_has_a_command_and_so_has_the_way_back_to_the_pivot() -> None:
    order = placed(Line("lamp", 1, 4900), Line("rug", 1, 8900), Line("lamp", 2, 4900))
    told = [command(order, Instruction(step)) for step in STEPS]
    undone = [command(order, Instruction(step, undo=True)) for step in STEPS[:PIVOT]]
    assert told == [
        Reserve(order_id="1", quantities={"lamp": 3, "rug": 1}),
        Authorise(order_id="1", amount=23600, card="tok_1"),
        Pack(order_id="1"),
        Capture(order_id="1"),
        Ship(order_id="1"),
    ]
    assert undone == [Release(order_id="1"), Void(order_id="1"), Unpack(order_id="1")]


def test_every_step_is_done_in_its_sequence_and_then_the_order_is_shipped() -> None:
    order = placed()
    told = [order.begin()] + [order.heard(Answer(step)) for step in STEPS]
    assert told == [*map(Instruction, STEPS), None]
    assert order.status is Status.SHIPPED


def test_it_is_confirmed_by_the_pivot_and_not_before() -> None:
    assert after(PIVOT).status is Status.PLACED
    assert after(PIVOT + 1).status is Status.CONFIRMED


@pytest.mark.parametrize("step", range(PIVOT + 1))
def test_a_refusal_undoes_what_was_done_the_last_first(step: int) -> None:
    order = after(step)
    told = [order.heard(Answer(STEPS[step], refused="no"))]
    while told[-1] is not None:
        assert order.status is Status.CANCELLING
        told.append(order.heard(Answer(told[-1].step, undo=True)))
    assert told == [*(Instruction(each, undo=True) for each in reversed(STEPS[:step])), None]
    assert (order.status, order.reason) == (Status.CANCELLED, "no")


@pytest.mark.parametrize("step", range(PIVOT))
def test_giving_up_undoes_the_step_that_nobody_answered_as_well(step: int) -> None:
    order = after(step)
    assert order.give_up("late") == Instruction(STEPS[step], undo=True)
    assert (order.status, order.reason) == (Status.CANCELLING, "late")


@pytest.mark.parametrize("steps", range(PIVOT, len(STEPS) + 1))
def test_from_the_pivot_on_nobody_gives_up(steps: int) -> None:
    order = after(steps)
    before = vars(order).copy()
    assert order.give_up("late") is None
    assert vars(order) == before


def test_nobody_gives_up_twice() -> None:
    order = after(1)
    order.give_up("late")
    assert order.give_up("later") is None
    assert order.reason == "late"


@pytest.mark.parametrize("steps", range(len(STEPS) + 1))
def test_an_answer_that_is_not_awaited_changes_nothing(steps: int) -> None:
    order = after(steps)
    awaited = STEPS[steps] if steps < len(STEPS) else None
    others = [Answer(step) for step in STEPS if step != awaited]
    others += [Answer(step, undo=True) for step in STEPS]
    before = vars(order).copy()
    assert [order.heard(each) for each in others] == [None] * len(others)
    assert vars(order) == before


def test_after_the_pivot_a_refusal_changes_nothing() -> None:
    order = after(PIVOT + 1)
    assert order.heard(Answer("ship", refused="no")) is None
    assert order.status is Status.CONFIRMED


def test_a_late_answer_to_what_was_given_up_changes_nothing() -> None:
    order = after(1)
    order.give_up("late")
    assert order.heard(Answer(STEPS[1])) is None
    assert order.heard(Answer(STEPS[1], refused="no")) is None
    assert order.reason == "late"
