"""Fixtures of the browser tests: the server, the browser, and one visit for each page and look."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, HTML, MODES, Window, pages, refuse
from checkout import CHECKOUT
from playwright.sync_api import Browser, sync_playwright
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

sys.path.insert(0, str(CHECKOUT / "book" / "_ext"))  # where jupyter-book finds them, too


class PageByPage(LoadFileScheduling):
    """Side by side, a file's tests stay in one worker; of those of all pages, each page's do."""

    def _split_scope(self, nodeid: str) -> str:
        page = re.search(r"\[(.*)\.html-", nodeid)
        return page[1] if page else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> PageByPage:
    return PageByPage(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "visit" in metafunc.fixturenames:
        audit = metafunc.function.__name__ == "test_axe_finds_nothing"
        looks = [
            (page, *mode)
            for page in pages() or ["no-book"]
            for mode in (MODES[::3] if audit and page.startswith("notebooks/") else MODES)
        ]
        ids = [f"{page}-{theme}-{width}" for page, theme, width in looks]
        metafunc.parametrize("visit", looks, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def html() -> Path:
    if not (HTML / "index.html").exists():
        refuse(f"no book in {HTML}: run `make book` first")
    return HTML


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def address(html: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(html)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not executable:
        refuse("no Chromium on the path: install it, or name it in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def windows(browser: Browser) -> Iterator[dict[tuple[str, int], Window]]:
    opened = {}
    for theme, width in MODES:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, reduced_motion="reduce"
        )
        # The reader's own choice of theme, as the theme stores it.
        context.add_init_script(
            f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
        )
        opened[theme, width] = Window(context.new_page())
    yield opened


@pytest.fixture(scope="session")
def visit(
    request: pytest.FixtureRequest, windows: dict[tuple[str, int], Window], address: str
) -> Window:
    """A page of the book, open in one theme and width; the checks of one page share the visit."""
    path, theme, width = request.param
    window = windows[theme, width]
    window.open(address + path)
    return window
