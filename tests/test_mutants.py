"""A mutant: who runs it, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from shoplab.mutants import mutated


class Price:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    @property
    def doubled(self) -> int:
        return 2 * self.cents

    async def later(self) -> NotThere:  # type: ignore[name-defined]  # noqa: F821
        return self.doubled


def test_whoever_has_the_function_runs_the_mutant_for_as_long_as_its_block_lasts() -> None:
    price = Price(100)
    held = price.later
    with mutated(Price.doubled.fget, "2 * ", "3 * "):
        assert asyncio.run(held()) == 300
        with mutated(Price.later, "return ", "return 1 + "):
            assert asyncio.run(held()) == 301
    assert asyncio.run(held()) == 200


def test_a_line_that_is_not_there_once_makes_no_mutant() -> None:
    with pytest.raises(ValueError, match="0 times"), mutated(Price.later, "nowhere", ""):
        pass


def test_the_right_code_is_back_after_an_error() -> None:
    with pytest.raises(LookupError), mutated(Price.doubled.fget, "2", "3"):
        raise LookupError
    assert Price(100).doubled == 200
