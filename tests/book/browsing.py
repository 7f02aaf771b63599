"""The built book, served on loopback, and a window of headless Chromium that is used again."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import axe_playwright_python
import pytest
from checkout import CHECKOUT
from playwright.sync_api import Page

HTML = Path(os.environ.get("BOOK_HTML") or CHECKOUT / "_build" / "html")
MODES = [(theme, width) for theme in ("light", "dark") for width in (1280, 390)]
# As root Chromium needs --no-sandbox; the others keep it from asking its maker's hosts.
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
CUT_OFF = """all => all.filter(one => {
  const {overflowX, backgroundAttachment} = getComputedStyle(one);
  return ["auto", "scroll"].includes(overflowX) && one.scrollWidth > one.clientWidth
    && !backgroundAttachment.includes("local");
}).map(one => one.outerHTML.slice(0, 80))"""
"""What is wider than its box, without a shadow that goes when the end of the way is reached."""


def pages() -> list[str]:
    """Every page of the built book, by its path; none when there is no book."""
    found = (path.relative_to(HTML) for path in HTML.rglob("*.html"))
    # index.html at the top only leads on to the book's first page.
    return sorted({path.as_posix() for path in found if path.parts[0][0] != "_"} - {"index.html"})


def refuse(reason: str) -> NoReturn:
    """Skip, or fail where REQUIRE_BOOK says that the book must be there to be tested."""
    if os.environ.get("REQUIRE_BOOK"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Window:
    """One browser page that is used again for each visit in the same theme and width."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught {error}"))
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, url: str) -> None:
        self.errors.clear()
        self.requests.clear()
        self.page.goto(url, wait_until="load")
