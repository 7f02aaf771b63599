"""A notebook that uses a term of the field links to what the glossary says of it."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from checkout import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))

EVERYDAY = {
    *("client", "command", "control", "event-driven", "exactly once", "message"),
    *("request-driven", "trace", "transaction (Kafka)", "treatment", "commit (of an offset)"),
}
"""Terms that are also words of every page, or mean something else in most sentences."""

NO_PROSE = re.compile(
    r":::\{admonition\}[^\n]*\n:class: prediction.*?\n:::"
    r"|```.*?```|`[^`\n]*`|\[[^\]]*\]\([^)]*\)|\$[^$\n]*\$|\*\*[^*\n]*\*\*|<[^>\n]*>"
    r"|^(?:#|\||:::|:[a-z-]+:)[^\n]*$",
    flags=re.DOTALL | re.MULTILINE,
)
"""Choices of a prediction, code, links, formulas, headings, tables, directives."""


def terms() -> dict[str, str]:
    """Each term of the glossary, and its anchor."""
    text = (CHECKOUT / "book" / "glossary.md").read_text(encoding="utf-8")
    found = re.findall(r"^(\S.*)\n: ", text, flags=re.MULTILINE)
    return {term: "term-" + re.sub(r"[^\w]+", "-", term).strip("-") for term in found}


def used_and_not_linked(text: str) -> list[str]:
    """The terms that stand in the prose of a page without a link to the glossary anywhere."""
    prose = NO_PROSE.sub(" ", text)
    return [
        term
        for term, anchor in terms().items()
        if term not in EVERYDAY
        and re.search(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", prose)
        and f"glossary.md#{anchor})" not in text
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_term_is_linked(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert used_and_not_linked(text) == []


def test_a_term_without_a_link_is_found_and_one_in_code_is_none() -> None:
    plain = "The broker keeps it. `offset` is code, and *topics* are not."
    assert used_and_not_linked(plain) == ["broker", "topic"]
    linked = plain.replace("topics", "[topics](../book/glossary.md#term-topic)")
    assert used_and_not_linked(linked) == ["broker"]
