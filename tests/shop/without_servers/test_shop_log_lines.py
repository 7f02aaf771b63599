"""Logs: one line of JSON for each thing, and nobody's name in it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from shop import logs
from shop.payment.events import Authorise


@pytest.fixture(autouse=True)
def set_up() -> Iterator[None]:
    before = logging.root.handlers[:]
    logs.set_up("a key")
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = before


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_is_json_and_hides_who_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    personal = {"customer_id": "mary.smith", "card": "4111111111111111", "email": "m@example.com"}
    structlog.get_logger().info("Placed", order_id="7", **personal)
    [line] = lines(capsys)
    assert (line["event"], line["order_id"], line["level"]) == ("Placed", "7", "info")
    assert {name: line[name] for name in personal} == {
        name: logs.pseudonym(value, "a key") for name, value in personal.items()
    }


def test_a_pseudonym_can_be_searched_and_belongs_to_one_key() -> None:
    mary = logs.pseudonym("mary", "a key")
    assert mary == logs.pseudonym("mary", "a key") != logs.pseudonym("mar", "a key")
    assert mary != logs.pseudonym("mary", "another")
    assert logs.pseudonym("mary", "") == logs.pseudonym("bob", "")


def test_what_is_called_adds_to_the_line_of_who_calls(capsys: pytest.CaptureFixture[str]) -> None:
    async def service(order: str) -> None:
        logs.say(outcome=order.upper())

    async def edge(order: str) -> None:
        with logs.line("Handled", order_id=order):
            await asyncio.create_task(service(order))

    async def both() -> None:
        await asyncio.gather(edge("a"), edge("b"))

    asyncio.run(both())
    logs.say(outcome="nobody listens")
    assert {(line["order_id"], line["outcome"]) for line in lines(capsys)} == {
        ("a", "A"),
        ("b", "B"),
    }


def test_a_block_that_fails_has_its_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LookupError), logs.line("Handled", order_id="7"):
        raise LookupError("No order 7.")
    [line] = lines(capsys)
    assert (line["order_id"], line["outcome"], line["error"]) == ("7", "failed", "LookupError")
    assert line["milliseconds"] >= 0


def test_a_library_and_its_traceback_are_one_line_of_json_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_up("a key")  # whose handler has the standard output of now
    with structlog.contextvars.bound_contextvars(order_id="7"):
        try:
            raise OSError("gone")
        except OSError:
            logging.getLogger("library").exception("It ended: %s", "badly")
    [line] = lines(capsys)
    assert (line["event"], line["logger"], line["order_id"]) == ("It ended: badly", "library", "7")
    assert line["exception"].endswith("OSError: gone")


def test_a_message_that_is_wrong_is_told_without_what_is_in_it() -> None:
    with pytest.raises(ValidationError) as wrong:
        Authorise.model_validate({"order_id": "7", "amount": "4111111111111111 x", "card": ["m@x"]})
    assert "4111" not in str(wrong.value)
    assert "m@x" not in str(wrong.value)
    assert "amount" in str(wrong.value)
