"""What a reader meets on every page, in both themes, at a desk and on a telephone."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import nbformat
import pytest
from browsing import AXE, CUT_OFF, Window, pages
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page

HEAVIEST = 1_200_000  # bytes of one page with all that it loads, uncompressed


def test_page_runs_without_an_error(visit: Window) -> None:
    assert visit.errors == []


def test_page_asks_no_other_host(visit: Window, address: str) -> None:
    assert [url for url in visit.requests if not url.startswith((address, "data:"))] == []


def test_page_does_not_scroll_sideways(visit: Window) -> None:
    width, room = visit.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= room


def test_what_scrolls_sideways_shows_that_it_goes_on(visit: Window) -> None:
    """A cut table or drawing looks whole; a cut line of code does not."""
    cut_off = visit.page.locator(".bd-article :not(pre)").evaluate_all(CUT_OFF)
    assert cut_off == []


def test_page_shows_no_traceback(visit: Window) -> None:
    assert visit.page.locator(".cell_output .traceback").count() == 0
    outputs = "\n".join(visit.page.locator(".cell_output").all_inner_texts())
    assert "Traceback (most recent call last)" not in outputs


def test_every_picture_says_what_is_seen(visit: Window) -> None:
    images = visit.page.locator("img").evaluate_all("all => all.map(one => one.alt)")
    assert [alt for alt in images if not alt.strip() or "/" in alt.split()[0]] == []
    drawings = visit.page.locator("svg[role=img]").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))"
    )
    assert all(drawings)


def test_every_picture_keeps_its_proportions(visit: Window) -> None:
    stretched = visit.page.locator("article img").evaluate_all(
        "all => all.filter(one => one.clientHeight &&"
        " Math.abs(one.clientWidth / one.clientHeight / (one.naturalWidth / one.naturalHeight) - 1)"
        " > 0.05).map(one => one.alt)"
    )
    assert stretched == []


UNFOLD = """
document.querySelectorAll('details').forEach(one => one.open = true);
document.querySelectorAll('.toggle-hidden .toggle-button').forEach(one => one.click());
"""


EACH_LOOK_ONCE = """() => {
  const seen = new Set();
  const again = [...document.querySelectorAll('.highlight pre span:not([id])')].filter(one => {
    const block = one.closest('.highlight');
    const look = [one, block, block.parentElement].map(each => {
      const {color, backgroundColor, fontSize, fontWeight} = getComputedStyle(each);
      return [color, backgroundColor, fontSize, fontWeight];
    }).join();
    return seen.has(look) || !seen.add(look);
  });
  again.forEach(one => one.replaceWith(...one.childNodes));
}"""
"""Leaves of a page's coloured words of code, thousands, one for each colour on each ground."""


def audit(page: Page) -> list[str]:
    """What axe finds in a page."""
    page.evaluate(EACH_LOOK_ONCE)
    page.evaluate(AXE)
    found = page.evaluate(
        "axe.run(document, {resultTypes: ['violations'],"
        " rules: {'label-content-name-mismatch': {enabled: true}}})"
    )
    return [
        f"{fault['impact']} {fault['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


def test_axe_finds_nothing(visit: Window) -> None:
    """An audit takes seconds, so a notebook has two: each theme once, and each width."""
    visit.page.evaluate(UNFOLD)
    if visit.page.locator(".toggle-button").count():
        visit.page.wait_for_timeout(400)  # the theme waits 300 ms before it looks what can scroll
    faults = audit(visit.page)
    assert not faults, "\n".join(faults)


PALE = """<html lang="en"><title>code</title><main><h1>code</h1>
<div class="GROUND"><div class="highlight"><pre><span>first</span>
<span>second</span></pre></div></div>
<div class="input"><div class="highlight"><pre><span>third</span></pre></div></div></main>
<style>.output span { color: #bbb } .output .highlight { background: #fff }</style>"""


@pytest.mark.parametrize(("ground", "faults"), [("input", 0), ("output", 1)])
def test_a_word_of_code_that_is_too_pale_on_its_ground_is_found_once(
    browser: Browser, ground: str, faults: int
) -> None:
    page = browser.new_page()
    page.set_content(PALE.replace("GROUND", ground))
    found = audit(page)
    page.close()
    assert [fault.split()[1] for fault in found] == ["color-contrast:"] * faults


def test_page_weighs_little(visit: Window) -> None:
    weight = visit.page.evaluate(
        "performance.getEntries().reduce((sum, one) => sum + (one.decodedBodySize ?? 0), 0)"
    )
    assert 10_000 < weight <= HEAVIEST


def test_search_finds_a_word(windows: dict[tuple[str, int], Window], address: str) -> None:
    window = windows["light", 1280]
    window.open(address + "search.html?q=offset")
    first = window.page.locator("#search-results li a").first
    first.wait_for(timeout=5000)
    assert window.errors == []


def test_search_button_opens_the_field(
    windows: dict[tuple[str, int], Window], address: str
) -> None:
    window = windows["light", 1280]
    window.open(address + "book/index.html")
    window.page.locator(".search-button__button").first.click()
    window.page.locator("#pst-search-dialog input").wait_for(state="visible", timeout=5000)


def test_theme_button_changes_the_theme(
    windows: dict[tuple[str, int], Window], address: str
) -> None:
    window = windows["light", 390]
    window.open(address + "book/index.html")
    window.page.locator(".theme-switch-button").first.click()
    window.page.wait_for_function("document.documentElement.dataset.mode !== 'light'", timeout=5000)


def test_front_door_leads_to_the_book(windows: dict[tuple[str, int], Window], address: str) -> None:
    window = windows["light", 1280]
    window.open(address)
    window.page.wait_for_url(address + "book/index.html", timeout=5000)


@pytest.fixture(scope="session")
def soups(html: Path) -> dict[str, BeautifulSoup]:
    return {
        page: BeautifulSoup((html / page).read_text(encoding="utf-8"), "html.parser")
        for page in pages()
    }


def test_links_and_anchors_lead_somewhere(html: Path, soups: dict[str, BeautifulSoup]) -> None:
    anchors = {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in soups.items()}
    broken = []
    for page, soup in soups.items():
        for link in soup.find_all(href=True):
            url, anchor = urldefrag(urljoin(page, link["href"]))
            if urlsplit(url).scheme:
                continue
            path = unquote(urlsplit(url).path)
            if not (html / path).is_file():
                broken.append(f"{page}: {link['href']} is not there")
            elif anchor and unquote(anchor) not in anchors.get(path, ()):
                broken.append(f"{page}: {link['href']} names no anchor")
    assert broken == []


def test_ids_are_unique(soups: dict[str, BeautifulSoup]) -> None:
    repeated = []
    for page, soup in soups.items():
        names = [tag["id"] for tag in soup.find_all(id=True)]
        repeated += [f"{page}: {name}" for name in {n for n in names if names.count(n) > 1}]
    assert repeated == []


def test_notebooks_can_be_downloaded(html: Path, soups: dict[str, BeautifulSoup]) -> None:
    notebooks = [page for page in soups if page.startswith("notebooks/")]
    for page in notebooks:
        links = [link["href"] for link in soups[page].select("a.btn-download-source-button")]
        assert links, page
        nbformat.validate(nbformat.read(html / urljoin(page, links[0]), as_version=4))
