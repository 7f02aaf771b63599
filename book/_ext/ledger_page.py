"""The ``ledger`` directive: every claim of the course, with what this build measured for it.

The ``measured-on`` directive says in short when that was, and on what machine and servers.

Each claim that a notebook checks leaves one JSON record. `tools/execution.py` runs them, and
no record outlives its run. The page is written whenever a notebook has run again, and the same
records become ``_build/ledger.json``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

import ledger_table
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from shoplab.claims import SECTIONS, Entry, ledger, write_ledger
from shoplab.evidence import Evidence, read_evidence

DATA = "claims.json"
"""The ledger as data, at the top of the built book; ``for_machines`` writes it."""


class LedgerPlace(nodes.General, nodes.Element):
    """Where the ledger goes, or what it was measured on: ``shows`` has the directive's name.

    Replaced when every notebook has run.
    """


class LedgerDirective(SphinxDirective):
    """Marks the place and remembers the page, to write it again after each build's notebooks.

    What is written in it is for JupyterLab, which shows the page's source.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Leave the mark."""
        self.env.metadata[self.env.docname]["ledger"] = True
        return [LedgerPlace("", shows=self.name)]


def directory(app: Sphinx) -> Path:
    """Where notebooks leave their records, as ``shoplab.claims.ledger_directory`` tells them."""
    return Path(os.environ.get("SHOPLAB_LEDGER") or Path(app.srcdir, "_build", "ledger"))


def evidence_of(app: Sphinx) -> Evidence | None:
    """What many rounds showed, where the checkout has it."""
    return read_evidence(Path(app.srcdir, "book", "evidence.json"))


def notebook_page(env: BuildEnvironment, number: str) -> str | None:
    """The document of a notebook: that of '04-3' is notebooks/04-3-absorb-ten-thousand-orders."""
    pages = (name for name in env.found_docs if name.startswith(f"notebooks/{number}-"))
    return next(pages, None)


def write_again(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """The pages with a ledger, which change whenever a notebook has run."""
    return [page for page, facts in env.metadata.items() if "ledger" in facts]


def fill_in(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the claims, or what they were measured on, where the directive stood."""
    for place in list(doctree.findall(LedgerPlace)):
        entries = ledger(directory(app))
        if place["shows"] == "ledger":
            place.replace_self(list(sections(app, docname, entries)))
        else:
            place.replace_self(_html(ledger_table.measured_on(entries, evidence_of(app))))


def sections(app: Sphinx, docname: str, entries: list[Entry]) -> Iterator[nodes.Node]:
    """A summary, then a section for each of the source document's."""
    evidence = evidence_of(app)
    by_anchor = {
        f"ledger-{name}": (title, [entry for entry in entries if entry.claim.section == name])
        for name, title in SECTIONS.items()
        if any(entry.claim.section == name for entry in entries)
    }

    def link(number: str) -> str:
        page = notebook_page(app.env, number)
        if page is None:
            return escape(number)
        title = escape(app.env.titles[page].astext())
        return f'<a href="{app.builder.get_relative_uri(docname, page)}">{title}</a>'

    yield _html(ledger_table.summary(entries, evidence, "../" * docname.count("/") + DATA))
    yield _html(ledger_table.contents(by_anchor))
    yield _html(ledger_table.filters(entries))
    for anchor, (title, claims) in by_anchor.items():
        section = nodes.section("", nodes.title("", title), ids=[anchor])
        section += _html(ledger_table.table(claims, evidence, link))
        yield section


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def publish(app: Sphinx, exception: Exception | None) -> None:
    """Leave the ledger as data, next to the book; a draft has measured nothing."""
    if exception is None and app.config.nb_execution_mode != "off":
        write_ledger(directory(app), Path(app.srcdir, "_build", "ledger.json"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_node(LedgerPlace)
    app.add_directive("ledger", LedgerDirective)
    app.add_directive("measured-on", LedgerDirective)
    app.connect("env-updated", write_again)
    app.connect("doctree-resolved", fill_in)
    app.connect("build-finished", publish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
