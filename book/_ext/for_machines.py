"""What lies beside the pages for programs that read: the ledger as data, each page as Markdown.

``claims.json`` has every claim that the ledger's page names, with what was measured for it. A page
``name.html`` has its text as ``name.md``, and names that in its head; a notebook's Markdown has the
code and no outputs.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import claims_list
import ledger_page
import ledger_table
from docutils import nodes
from sphinx.application import Sphinx

from shoplab.claims import Entry, ledger
from shoplab.evidence import Evidence

LINK_TO_NOTEBOOK = re.compile(r"(\]\([^)\s]+)\.ipynb\b")
LEDGER = re.compile(r"^```\{?ledger\}?\n(?:.+\n)??```$", flags=re.MULTILINE)
CLAIMS = re.compile(r"^```\{?claims\}? (\S+)\n(?:.+\n)??```$", flags=re.MULTILINE)


def name_the_markdown(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Name a page's Markdown in its head; what is no page of the book (the search) has none."""
    if doctree is not None:
        name = f"{Path(pagename).name}.md"
        context["metatags"] += f'<link rel="alternate" type="text/markdown" href="{name}">\n'


def publish(app: Sphinx, exception: Exception | None) -> None:
    """Write the files, once the book is built."""
    if exception is not None or app.builder.format != "html":
        return
    entries = ledger(ledger_page.directory(app))
    evidence = ledger_page.evidence_of(app)
    claims = [as_data(app, entry, evidence) for entry in entries]
    text = json.dumps(claims, indent=1, ensure_ascii=False) + "\n"
    Path(app.outdir, ledger_page.DATA).write_text(text, encoding="utf-8")
    for page in app.env.found_docs:
        source = Path(app.env.doc2path(page))
        text = source.read_text(encoding="utf-8")
        if source.suffix == ".ipynb":
            text = as_markdown(json.loads(text))
        text = LEDGER.sub("\n".join(map(as_line, entries)), LINK_TO_NOTEBOOK.sub(r"\1.md", text))
        text = CLAIMS.sub(as_list, text)
        Path(app.outdir, f"{page}.md").write_text(text, encoding="utf-8")


def as_data(app: Sphinx, entry: Entry, evidence: Evidence | None) -> dict[str, Any]:
    """A claim with its verdict, its records and their evidence; links start at the book's top."""
    target = app.builder.get_target_uri
    records = []
    for record in entry.records:
        page = ledger_page.notebook_page(app.env, record.notebook)
        runs = evidence.of(record.id, record.notebook) if evidence else None
        links = {"page": page and target(page), "evidence": runs and asdict(runs)}
        records.append(asdict(record) | links)
    verdict = entry.verdict or ledger_table.NOT_SHOWN
    return asdict(entry.claim) | {
        "verdict": verdict,
        "page": f"{target('book/ledger')}#claim-{entry.claim.id}",
        "records": records,
    }


def as_line(entry: Entry) -> str:
    """A claim in a line of a Markdown list, and what was measured in one below."""
    lines = [f"- {entry.claim.claim} *{entry.verdict or ledger_table.NOT_SHOWN}*"]
    return "\n".join([*lines, *(f"  - {record.notebook}: {record}" for record in entry.records)])


def as_list(place: re.Match[str]) -> str:
    """The claims of the section that a page lists, each a line of a Markdown list."""
    return "\n".join(f"- {claim.claim}" for claim in claims_list.claims_of(place[1]))


def as_markdown(notebook: dict[str, Any]) -> str:
    """The texts of a notebook, and its code in fences."""
    cells = (
        f"```python\n{source}\n```" if cell["cell_type"] == "code" else source
        for cell in notebook["cells"]
        if (source := "".join(cell["source"]))
    )
    return "\n\n".join(cells) + "\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.connect("html-page-context", name_the_markdown)
    app.connect("build-finished", publish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
