"""The ledger of the built book is filtered by verdict where no script runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

SEEN = """
() => [...document.querySelectorAll('[data-verdict]')].filter(one => one.checkVisibility())
  .map(one => one.dataset.verdict)
"""
HEADED = """
() => [...document.querySelectorAll('section[id^="ledger-"]')].filter(one => one.checkVisibility())
  .map(one => one.querySelectorAll('[data-verdict]').length)
"""

WITHOUT_A_ROW = """
() => [...document.querySelectorAll('table.ledger')].filter(one => one.checkVisibility()
  && ![...one.tBodies].some(row => row.checkVisibility())).length
"""


@pytest.fixture(params=[1280, 390])
def ledger(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    """The ledger's page without scripts, at a desk and on a telephone."""
    size = {"width": request.param, "height": 900}
    context = browser.new_context(java_script_enabled=False, viewport=size)
    page = context.new_page()
    page.goto(address + "book/ledger.html")
    yield page
    context.close()


def test_every_claim_is_there_and_one_verdict_can_be_chosen(ledger: Page) -> None:
    there = ledger.evaluate(SEEN)
    sections = len(ledger.evaluate(HEADED))
    choices = [
        each.get_attribute("value") for each in ledger.locator("[name=ledger-verdict]").all()
    ]
    assert {*choices} == {"all", *there} and len(choices) > 2
    for choice in choices[1:]:
        ledger.check(f"[name=ledger-verdict][value={choice}]")
        assert ledger.evaluate(SEEN) == [verdict for verdict in there if verdict == choice]
        assert 0 < len(ledger.evaluate(HEADED)) < sections
        assert ledger.evaluate(WITHOUT_A_ROW) == 0
    ledger.check("[name=ledger-verdict][value=all]")
    assert ledger.evaluate(SEEN) == there


def test_every_bar_has_its_value_beside_it_in_the_page(ledger: Page) -> None:
    bars = ledger.locator("table.ledger dd").all()
    assert bars
    width = ledger.viewport_size["width"]
    for bar in bars:
        box = bar.bounding_box()
        assert bar.inner_text().strip()
        assert box["x"] + box["width"] <= width
        assert bar.evaluate("one => one.scrollWidth <= one.clientWidth")
