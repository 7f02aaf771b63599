"""Where no script runs (switched off, or in a sandboxed frame), drawings can still be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import HTML, pages
from playwright.sync_api import Browser, Page

SEEN = """
svg => {
  const style = one => getComputedStyle(one);
  const page = style(document.body).backgroundColor;
  const ground = text => {
    const at = text.getBBox(), x = at.x + at.width / 2, y = at.y + at.height / 2;
    const under = [...svg.querySelectorAll('rect')].map(one => [one, one.getBBox()]).filter(
      ([, box]) => box.x < x && x < box.x + box.width && box.y < y && y < box.y + box.height);
    return under.length ? style(under.at(-1)[0]).fill : page;
  };
  return [...svg.querySelectorAll('text')].map(
    text => [text.textContent, style(text).fill, ground(text)]
  ).concat([...svg.querySelectorAll('.arrow')].map(
    arrow => [arrow.getAttribute('class'), style(arrow).stroke, page]));
}
"""
"""Each text of a drawing and each arrow, with its colour and the colour that lies below it."""


def drawn() -> list[str]:
    """The pages that hold a sequence diagram."""
    return [page for page in pages() if 'class="sequence"' in Path(HTML, page).read_text("utf-8")]


def contrast(one: str, other: str) -> float:
    """The contrast of two opaque colours, `rgb(...)` as browsers say them, by WCAG's formula."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)]
    assert len(parts) == 3, f"{colour} is not an opaque colour"
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A browser page without scripts, for a reader who prefers this theme."""
    context = browser.new_context(java_script_enabled=False, color_scheme=request.param)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", drawn() or ["no-book"])
def test_every_line_of_a_diagram_can_be_read(path: str, page: Page, address: str) -> None:
    page.goto(address + path)
    found = page.locator("svg.sequence").all()
    assert found
    marks = [mark for svg in found for mark in svg.evaluate(SEEN)]
    faint = [mark for mark in marks if contrast(mark[1], mark[2]) < 4.5]
    assert len(marks) > 10
    assert faint == []
