"""The ``ledger`` directive: every claim of the course, with what this build measured for it.

Each claim that a notebook checks leaves one JSON record. `tools/execution.py` runs them, and
no record outlives its run. The page is written whenever a notebook has run again, and the same
records become ``_build/ledger.json``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from shoplab.claims import Entry, Record, ledger, shown, write_ledger

SECTIONS = {
    "which-to-pick": "Which should you pick?",
    "request-driven": "Request-driven architecture",
    "event-driven": "Event-driven architecture",
    "hybrids": "Hybrid architectures",
    "saga": "The saga pattern",
    "comparison": "Side-by-side comparison",
    "implementation": "Practical implementation",
}


class LedgerPlace(nodes.General, nodes.Element):
    """Where the ledger goes; replaced when every notebook has run."""


class LedgerDirective(SphinxDirective):
    """Marks the place and remembers the page, to write it again after each build's notebooks."""

    def run(self) -> list[nodes.Node]:
        """Leave the mark."""
        self.env.metadata[self.env.docname]["ledger"] = True
        return [LedgerPlace("")]


def directory(app: Sphinx) -> Path:
    """Where notebooks leave their records, as ``shoplab.claims.ledger_directory`` tells them."""
    return Path(os.environ.get("SHOPLAB_LEDGER") or Path(app.srcdir, "_build", "ledger"))


def notebook_page(env: BuildEnvironment, number: str) -> str | None:
    """The document of a notebook: that of '04-3' is notebooks/04-3-absorb-ten-thousand-orders."""
    pages = (name for name in env.found_docs if name.startswith(f"notebooks/{number}-"))
    return next(pages, None)


def write_again(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """The pages with a ledger, which change whenever a notebook has run."""
    return [page for page, facts in env.metadata.items() if "ledger" in facts]


def fill_in(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the claims where the directive stood."""
    for place in list(doctree.findall(LedgerPlace)):
        place.replace_self(list(sections(app, docname, ledger(directory(app)))))


def sections(app: Sphinx, docname: str, entries: list[Entry]) -> Iterator[nodes.Node]:
    """How many claims are shown, then a section for each of the source document's."""
    measured_now = sum(bool(entry.records) for entry in entries)
    yield nodes.paragraph("", f"Shown in this build: {measured_now} of {len(entries)} claims.")
    for name in dict.fromkeys(entry.claim.section for entry in entries):
        section = nodes.section(ids=[f"ledger-{name}"])
        section += nodes.title("", SECTIONS[name])
        claims = nodes.bullet_list(classes=["ledger"])
        claims += [item(app, docname, e) for e in entries if e.claim.section == name]
        section += claims
        yield section


def item(app: Sphinx, docname: str, entry: Entry) -> nodes.list_item:
    """One claim: in one line if it is not yet shown, else with its numbers below it."""
    claim = nodes.paragraph("", entry.claim.claim, classes=["claim"])
    claim += nodes.inline("", f" {entry.state}", classes=["state", entry.state.replace(" ", "-")])
    listed = nodes.list_item("", claim, ids=[f"claim-{entry.claim.id}"])
    for record in entry.records:
        listed += measured(app, docname, record)
    return listed


def measured(app: Sphinx, docname: str, record: Record) -> nodes.paragraph:
    """The two values with their unit, the limits, and the notebook that measured them."""
    line = nodes.paragraph(classes=["measured"])
    for name, value in (("control", record.control), ("treatment", record.treatment)):
        line += nodes.Text(f"{name} ")
        line += nodes.strong("", shown(value))
        line += nodes.Text(f" {record.unit}; ")
    if record.limits:
        limits = "; ".join(f"{name} {shown(value)}" for name, value in record.limits.items())
        line += nodes.Text(f"where it ends: {limits}; ")
    line += nodes.Text("from ")
    page = notebook_page(app.env, record.notebook)
    if page is None:
        line += nodes.Text(record.notebook)
        return line
    target = app.builder.get_relative_uri(docname, page)
    title = app.env.titles[page].astext()
    line += nodes.reference("", "", nodes.Text(title), refuri=target, internal=True)
    return line


def publish(app: Sphinx, exception: Exception | None) -> None:
    """Leave the ledger as data, next to the book; a draft has measured nothing."""
    if exception is None and app.config.nb_execution_mode != "off":
        write_ledger(directory(app), Path(app.srcdir, "_build", "ledger.json"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_node(LedgerPlace)
    app.add_directive("ledger", LedgerDirective)
    app.connect("env-updated", write_again)
    app.connect("doctree-resolved", fill_in)
    app.connect("build-finished", publish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
