"""Pages list the claims of a section, and link to a claim's line in the ledger."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from checkout import CHECKOUT
from small_book import build_book, built_page
from sphinx.errors import SphinxWarning

from shoplab.claims import BEYOND, SECTIONS, claims


def build(folder: Path, text: str) -> BeautifulSoup:
    """Build a book of a ledger and a page with this text; the page."""
    (folder / "book").mkdir()
    contents = "```{toctree}\nbook/ledger\nbook/page\n```"
    (folder / "index.md").write_text(f"# Book\n\n{contents}\n")
    (folder / "book" / "ledger.md").write_text("# The ledger\n\n```{ledger}\n```\n")
    (folder / "book" / "page.md").write_text(f"# Page\n\n{text}\n")
    options = {
        "extensions": ["myst_nb", "ledger_page", "claims_list", "for_machines"],
        "nb_execution_mode": "off",
        "myst_fence_as_directive": ["claims", "ledger"],
        "exclude_patterns": ["out"],
        "smartquotes": False,
    }
    build_book(folder, **options)
    return built_page(folder, "book/page")


def test_a_section_lists_its_claims_each_with_its_line_in_the_ledger(tmp_path: Path) -> None:
    page = build(tmp_path, "```{claims} saga\n```")
    listed = {link.text: link["href"] for link in page.select("[role=main] li a, .body li a")}
    expected = {
        claim.claim: f"ledger.html#claim-{claim.id}"
        for claim in claims().values()
        if claim.section == "saga"
    }
    assert listed == expected
    ledger = BeautifulSoup((tmp_path / "out" / "book" / "ledger.html").read_text(), "html.parser")
    assert all(ledger.find(id=href.partition("#")[2]) for href in listed.values())


def test_the_pages_markdown_has_the_claims_too(tmp_path: Path) -> None:
    build(tmp_path, "Before.\n\n```claims saga\nThey are in the book.\n```\n\nAfter.")
    text = (tmp_path / "out" / "book" / "page.md").read_text("utf-8")
    lines = [f"- {claim.claim}" for claim in claims().values() if claim.section == "saga"]
    assert text == "\n".join(["# Page\n\nBefore.\n", *lines, "\nAfter.\n"])


def test_a_sentence_links_to_a_claim(tmp_path: Path) -> None:
    page = build(tmp_path, "It holds {claim}`in the ledger <rd-one-trace>`.")
    (link,) = page.find_all("a", string="in the ledger")
    assert link["href"] == "ledger.html#claim-rd-one-trace"


@pytest.mark.parametrize("text", ["```{claims} sagas\n```", "{claim}`here <rd-no-such>`"])
def test_what_does_not_exist_is_an_error_of_the_build(tmp_path: Path, text: str) -> None:
    with pytest.raises(SphinxWarning, match=r"sagas|rd-no-such"):
        build(tmp_path, text)


def test_the_page_of_the_document_lists_every_section_of_it() -> None:
    text = (CHECKOUT / "book" / "the-document.md").read_text("utf-8")
    listed = re.findall(r"^### (.+)\n\n```claims (\S+)\n.+\n```$", text, flags=re.MULTILINE)
    titles = {title: name for name, title in SECTIONS.items() if name != BEYOND}
    assert dict(listed) == titles
