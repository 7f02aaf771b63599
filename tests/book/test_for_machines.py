"""Beside each page lies its text, and beside the book its ledger, for programs that read."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from recorded import RECORD, leave
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

RUNS = {"held": 20, "runs": 20, "control": [1, 2, 3], "treatment": [0, 0, 0], "margin": 0.43}


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built book of a front page, a ledger, and a notebook that left a record."""
    monkeypatch.delenv("SHOPLAB_LEDGER", raising=False)
    book, notebooks = tmp_path / "book", tmp_path / "notebooks"
    for folder in (book, notebooks):
        folder.mkdir()
    contents = "```{toctree}\nbook/ledger\nnotebooks/04-4-crash\n```"
    (tmp_path / "index.md").write_text(
        f"# Book\n\n[Crash](notebooks/04-4-crash.ipynb)\n\n{contents}\n"
    )
    (book / "ledger.md").write_text("# The ledger\n\n```ledger\nIn the book.\n```\n")
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# Crash\n\nSee [the ledger](../book/ledger.md)."),
            new_code_cell("lost = 0\nlost", outputs=[new_output("stream", text="never shown")]),
            new_code_cell(""),
        ]
    )
    notebook.metadata = {"language_info": {"name": "python", "pygments_lexer": "python"}}
    nbformat.write(notebook, notebooks / "04-4-crash.ipynb")
    leave(tmp_path)
    facts = {"date": "2026-11-27", "machine": "8 cores", "rounds": 20}
    of_all = {"claims": {"ed-persisted-crash-resume": {"04-4": RUNS}}}
    (book / "evidence.json").write_text(json.dumps(facts | of_all))
    with docutils_namespace():
        Sphinx(
            str(tmp_path),
            None,
            *(str(tmp_path / name) for name in ("out", "trees")),
            buildername="html",
            confoverrides={
                "extensions": ["myst_nb", "ledger_page", "for_machines"],
                "nb_execution_mode": "off",
                "myst_fence_as_directive": ["claims", "ledger"],
                "exclude_patterns": ["out", "trees"],
            },
            status=None,
            warningiserror=True,
        ).build()
    return tmp_path / "out"


def test_a_notebook_is_markdown_with_its_code_and_without_outputs(out: Path) -> None:
    text = (out / "notebooks" / "04-4-crash.md").read_text("utf-8")
    assert text == (
        "# Crash\n\nSee [the ledger](../book/ledger.md).\n\n```python\nlost = 0\nlost\n```\n"
    )


def test_a_link_to_a_notebook_leads_to_its_markdown(out: Path) -> None:
    assert "[Crash](notebooks/04-4-crash.md)" in (out / "index.md").read_text("utf-8")


def test_every_page_names_its_markdown_and_the_search_has_none(out: Path) -> None:
    for page in ("index", "book/ledger", "notebooks/04-4-crash", "search"):
        soup = BeautifulSoup((out / f"{page}.html").read_text("utf-8"), "html.parser")
        links = [link["href"] for link in soup.select("link[rel=alternate][type='text/markdown']")]
        assert links == ([] if page == "search" else [f"{Path(page).name}.md"])
        assert all((out / page).with_name(name).is_file() for name in links)


def test_the_ledgers_markdown_has_a_line_for_each_claim_and_record(out: Path) -> None:
    text = (out / "book" / "ledger.md").read_text("utf-8")
    assert "```" not in text and "In the book." not in text
    assert "- A callee that is down takes its caller down. *not yet shown*\n" in text
    assert (
        "none is lost. *holds*\n  - 04-4: ed-persisted-crash-resume holds: emails lost, "
        "control 137, treatment 0.\n"
    ) in text


def test_the_ledger_is_data_with_verdicts_records_evidence_and_links(out: Path) -> None:
    claims = {claim["id"]: claim for claim in json.loads((out / "claims.json").read_text("utf-8"))}
    assert len(claims) == 52
    shown = claims["ed-persisted-crash-resume"]
    assert (shown["verdict"], shown["page"]) == (
        "holds",
        "book/ledger.html#claim-ed-persisted-crash-resume",
    )
    (record,) = shown["records"]
    assert record.pop("page") == "notebooks/04-4-crash.html"
    evidence = record.pop("evidence")
    assert (evidence["held"], evidence["runs"], evidence["margin"]) == (20, 20, 0.43)
    assert record == RECORD
    silent = claims["rd-cascade"]
    assert (silent["verdict"], silent["records"]) == ("not yet shown", [])
    page = BeautifulSoup((out / "book" / "ledger.html").read_text("utf-8"), "html.parser")
    assert all(page.select(f"#{claim['page'].partition('#')[2]}") for claim in claims.values())
    assert page.select("a[href='../claims.json']")
