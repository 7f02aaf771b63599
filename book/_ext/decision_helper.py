"""The ``decision-helper`` and ``decision-cases`` directives: which style for one interaction.

    ```decision-helper
    In the built book there is a helper here.
    ```

What it asks and says is in ``book/decisions.yml``; what it costs is what this build measured. So
the page is written whenever a notebook has run again. Something in ``decisions.yml`` that cannot
be, such as a claim that does not exist, is an error of the build. The script and its style sheet
belong to the pages with a helper only; where no script runs, such a page has a table and folded
answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import claims_list
import decision_html
import decision_rules
import ledger_page
import ledger_table
from decision_html import Price
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from shoplab.claims import Record, ledger
from shoplab.digits import told
from shoplab.verdicts import Verdict

CLAIM = re.compile(r'lab\.claim\(\s*"([\w-]+)"')
"""Where a notebook has a claim judged."""


class DecisionPlace(nodes.General, nodes.Element):
    """Where the helper or its cases go: ``shows`` has the directive's name."""


class DecisionDirective(SphinxDirective):
    """Marks the place, and remembers the page, to write it again after each build's notebooks.

    What is written in it is for JupyterLab, which shows the page's source.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Leave the mark, or say what is wrong with the decisions."""
        path = source(self.env.app)
        self.env.note_dependency(str(path))
        claims_list.read_with_the_claims(self.env)
        try:
            decision_rules.read(path)
        except decision_rules.DecisionsError as error:
            raise self.error(str(error)) from error
        self.env.metadata[self.env.docname]["decisions"] = True
        return [DecisionPlace("", shows=self.name)]


def source(app: Sphinx) -> Path:
    """Where the decisions are written down."""
    return Path(app.srcdir, "book", "decisions.yml")


def write_again(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """The pages with decisions, whose prices change whenever a notebook has run."""
    return [page for page, facts in env.metadata.items() if "decisions" in facts]


def fill_in(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the helper or its cases where the directive stood."""
    places = list(doctree.findall(DecisionPlace))
    if not places:
        return
    decisions = decision_rules.read(source(app))
    prices = Prices(app, docname, decisions["pairs"])
    for place in places:
        if place["shows"] == "decision-helper":
            html = decision_html.helper(decisions, prices.of, prices.measured())
        else:
            html = decision_html.cases(decisions, prices.of)
        place.replace_self(nodes.raw("", html, format="html"))


class Prices:
    """What the ledger of this build says of a claim, in a sentence with links from one page."""

    def __init__(self, app: Sphinx, docname: str, pairs: dict[str, list[str]]) -> None:
        self._app = app
        self._docname = docname
        self._pairs = pairs
        self._entries = {entry.claim.id: entry for entry in ledger(ledger_page.directory(app))}
        self._claimed_in = claimed_in(app.env)

    def of(self, price: str) -> Price:
        """The two values with the names of their runs, or 'not yet shown'; and where from."""
        claim, _, notebook = price.partition(" ")
        entry = self._entries.get(claim)
        records = entry.records if entry else []
        record = next((each for each in records if notebook in ("", each.notebook)), None)
        text = (
            self._text(record, self._pairs[price])
            if record
            else f"{ledger_table.NOT_SHOWN.capitalize()} in this build"
        )
        links = []
        number = record.notebook if record else notebook or self._claimed_in.get(claim, "")
        page = ledger_page.notebook_page(self._app.env, number) if number else None
        if page:
            links.append((self._app.env.titles[page].astext(), self._to(page)))
        # The ledger's page has no line for what the document does not say, until it is shown.
        anchor = f"#claim-{claim}" if entry else ""
        links.append(("Ledger", self._to(claims_list.LEDGER) + anchor))
        return Price(text, links)

    def _to(self, page: str) -> str:
        return str(self._app.builder.get_relative_uri(self._docname, page))

    @staticmethod
    def _text(record: Record, names: list[str]) -> str:
        unit, values = told(record.unit, record.control, record.treatment)
        listed = ", ".join(f"{name} *{value}*" for name, value in zip(names, values, strict=True))
        # 'by an event 0, by a request 7 of 20 orders failed': such a unit comes after the numbers.
        text = f"{listed} {unit}" if unit.startswith(("of ", "times ")) else f"{unit}: {listed}"
        text = text[0].upper() + text[1:]
        verdict = "" if record.verdict is Verdict.HOLDS else f" (the claim: {record.verdict})"
        return text + verdict

    def measured(self) -> str:
        """When and on what this build's numbers were measured."""
        records = [record for entry in self._entries.values() for record in entry.records]
        if not records:
            return "This build has run no notebook, so it has no numbers."
        return f"Measured {ledger_table.days(records)}: {ledger_table.machines(records)}."


def claimed_in(env: BuildEnvironment) -> dict[str, str]:
    """The number of the notebook that has a claim judged, by the claim's id."""
    found: dict[str, str] = {}
    for page in sorted(env.found_docs):
        path = Path(env.doc2path(page))
        if page.startswith("notebooks/") and path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            number = "-".join(path.stem.split("-")[:2])
            for cell in cells:
                for claim in CLAIM.findall("".join(cell["source"])):
                    found.setdefault(claim, number)
    return found


def add_the_script(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Load what the helper needs on its page only: Sphinx forgets it before the next page."""
    if "decisions" in app.env.metadata.get(pagename, {}):
        app.add_js_file("decision-helper.js", loading_method="defer")
        app.add_css_file("decision-helper.css")


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_node(DecisionPlace)
    app.add_directive("decision-helper", DecisionDirective)
    app.add_directive("decision-cases", DecisionDirective)
    app.connect("env-updated", write_again)
    app.connect("doctree-resolved", fill_in)
    app.connect("html-page-context", add_the_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
