"""The ``ledger`` directive: every claim of the course, with what this build measured for it.

Notebooks run while Sphinx reads them, and each claim they check leaves one JSON record. The page is
therefore filled in when all reading is done, and the same records become ``_build/ledger.json``.
A notebook's old records are removed before it runs, so that none outlives the run that made it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

CLAIMS = Path("src", "shoplab", "claims.yml")
FIELDS = ("id", "notebook", "control", "treatment", "unit", "holds", "limits")
SECTIONS = {
    "which-to-pick": "Which should you pick?",
    "request-driven": "Request-driven architecture",
    "event-driven": "Event-driven architecture",
    "hybrids": "Hybrid architectures",
    "saga": "The saga pattern",
    "comparison": "Side-by-side comparison",
    "implementation": "Practical implementation",
}

Record = dict[str, Any]


class ledger(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes so
    """Where the ledger goes; replaced when every notebook has run."""


class Ledger(SphinxDirective):
    """Puts the place holder into the page and remembers the page."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(Path(self.env.srcdir, CLAIMS)))
        pages_with_ledger(self.env).add(self.env.docname)
        return [ledger("")]


def pages_with_ledger(env: BuildEnvironment) -> set[str]:
    if not hasattr(env, "ledger_pages"):
        env.ledger_pages = set()  # type: ignore[attr-defined]
    pages: set[str] = env.ledger_pages  # type: ignore[attr-defined]
    return pages


def directory(app: Sphinx) -> Path:
    """Where notebooks leave their records: as ``shoplab.claims`` has it."""
    return Path(os.environ.get("SHOPLAB_LEDGER") or Path(app.srcdir, "_build", "ledger"))


def read_records(folder: Path) -> list[Record]:
    """The records of ``folder``, sorted by claim and notebook, with the published fields only."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    chosen = [{name: record.get(name) for name in FIELDS} for record in records]
    return sorted(chosen, key=lambda record: (record["id"], record["notebook"]))


def forget_old_records(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Remove the records of the notebooks that are about to run."""
    if app.config.nb_execution_mode == "off":
        return
    for path in directory(app).glob("*.json"):
        notebook = path.name.split("--")[0]
        page = notebook_page(env.found_docs, notebook)
        if page is None or page in docnames:
            path.unlink()


def notebook_page(docnames: Iterable[str], notebook: str) -> str | None:
    """The document of a notebook known by its number: '04-3' is notebooks/04-3-absorb-..."""
    return next((name for name in docnames if name.startswith(f"notebooks/{notebook}-")), None)


def write_again(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    return pages_with_ledger(env) & env.found_docs


def fill_in(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    places = list(doctree.findall(ledger))
    if not places:
        return
    claims = yaml.safe_load(Path(app.srcdir, CLAIMS).read_text(encoding="utf-8"))
    records = read_records(directory(app))
    for place in places:
        place.replace_self(list(_sections(app, docname, claims, records)))


def _sections(
    app: Sphinx, docname: str, claims: list[Record], records: list[Record]
) -> Iterator[nodes.Node]:
    shown = {record["id"] for record in records} & {claim["id"] for claim in claims}
    yield nodes.paragraph("", f"Shown so far: {len(shown)} of {len(claims)} claims.")
    for name in dict.fromkeys(claim["section"] for claim in claims):
        section = nodes.section(ids=[f"ledger-{name}"])
        section += nodes.title("", SECTIONS[name])
        items = nodes.definition_list(classes=["ledger"])
        for claim in claims:
            if claim["section"] == name:
                found = [record for record in records if record["id"] == claim["id"]]
                items += _entry(app, docname, claim, found)
        section += items
        yield section


def _entry(app: Sphinx, docname: str, claim: Record, found: list[Record]) -> nodes.Node:
    entry = nodes.definition_list_item(ids=[claim["id"]], classes=[] if found else ["open"])
    entry += nodes.term("", claim["claim"])
    definition = nodes.definition()
    for record in found:
        definition += _measured(app, docname, record)
    if not found:
        definition += nodes.paragraph("", "not yet shown")
    entry += definition
    return entry


def _measured(app: Sphinx, docname: str, record: Record) -> nodes.Node:
    unit = f" {record['unit']}" if record["unit"] else ""
    line = nodes.paragraph()
    line += nodes.strong("", "holds" if record["holds"] else "does not hold")
    line += nodes.Text(
        f": control {_plain(record['control'])}{unit}, treatment {_plain(record['treatment'])}{unit}"
    )
    for name, value in (record["limits"] or {}).items():
        line += nodes.Text(f"; {name}: {_plain(value)}")
    line += nodes.Text(". Notebook ")
    line += _link(app, docname, record["notebook"])
    line += nodes.Text(".")
    return line


def _link(app: Sphinx, docname: str, notebook: str) -> nodes.Node:
    page = notebook_page(app.env.found_docs, notebook)
    if page is None:
        return nodes.Text(notebook)
    target = app.builder.get_relative_uri(docname, page)
    return nodes.reference("", app.env.titles[page].astext(), refuri=target, internal=True)


def _plain(value: Any) -> str:
    """A recorded value as prose shows it: 12345 as 12,345 and 0.123456 as 0.123."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        if isinstance(value, dict):
            return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
        if isinstance(value, list):
            return ", ".join(_plain(part) for part in value)
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def publish(app: Sphinx, exception: Exception | None) -> None:
    """Leave the ledger as data; a draft has nothing new to tell."""
    if exception is None and app.config.nb_execution_mode != "off":
        target = Path(app.srcdir, "_build", "ledger.json")
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(read_records(directory(app)), indent=2) + "\n", "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(ledger)
    app.add_directive("ledger", Ledger)
    app.connect("env-before-read-docs", forget_old_records)
    app.connect("env-updated", write_again)
    app.connect("doctree-resolved", fill_in)
    app.connect("build-finished", publish)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
