"""The book's own Sphinx extensions: diagrams, formulas, the ledger page, the draft."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import mends
import pytest
import sequence
from bs4 import BeautifulSoup, Tag
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

DIAGRAM = """
participants: Customer, Shop
wait Customer
Customer -> Shop: place an order of <two> books
note Shop: works
Shop --> Customer: thank you
done Customer
Shop -x Customer: a second answer
"""
RECORD = {
    "id": "ed-persisted-crash-resume",
    "notebook": "04-4",
    "control": 137,
    "treatment": 0,
    "unit": "emails lost",
    "holds": True,
    "limits": {"commit before handling loses": 12},
}


def test_a_diagram_is_one_picture_with_its_texts() -> None:
    picture = ElementTree.fromstring(sequence.draw(DIAGRAM, "An order & an answer."))
    assert picture.get("role") == "img"
    assert picture.get("aria-label") == "An order & an answer."
    texts = [text.text for text in picture.iter("text")]
    assert texts[:2] == ["Customer", "Shop"]
    assert "place an order of" in texts and "<two> books" in texts
    kinds = [shape.get("class") for shape in picture.iter()]
    assert kinds.count("bar") == 1 and kinds.count("note") == 1 and kinds.count("head") == 2
    assert {"arrow call", "arrow answer", "arrow lost"} <= set(kinds)


def test_a_drawing_of_many_stays_legible_and_none_is_wider_than_its_place() -> None:
    two = sequence.draw("participants: A, B\nA -> B: hello", "two")
    four = sequence.draw("participants: A, B, C, D\nA -> D: hello", "four")
    assert "min-width: 0px" in two
    assert "min-width: 420px" in four


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("Customer -> Shop: order", "first line must be"),
        ("participants: Customer, Shop\nCustomer => Shop: order", "cannot read 'Customer =>"),
        ("participants: Customer, Shop\nCustomer -> Shed: order", "'Shed' is not among"),
        ("participants: Customer, Shop\ndone Shop", "without a 'wait Shop'"),
    ],
)
def test_a_line_that_cannot_be_drawn_is_named(source: str, complaint: str) -> None:
    with pytest.raises(sequence.SequenceError, match=complaint):
        sequence.draw(source, "never drawn")


Build = Callable[..., BeautifulSoup]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build a book of a ledger and one notebook; a notebook that is read leaves RECORD."""
    monkeypatch.delenv("SHOPLAB_LEDGER", raising=False)
    (tmp_path / "notebooks").mkdir()
    contents = ".. toctree::\n   :glob:\n\n   notebooks/*"
    (tmp_path / "index.rst").write_text(f"Book\n====\n\n{contents}\n\n.. ledger::")
    (tmp_path / "notebooks" / "04-4-crash.rst").write_text("Crash\n=====\n\n:math:`a^2`")

    (tmp_path / "conf.py").touch()

    def run(executed: bool = True) -> BeautifulSoup:
        with docutils_namespace():
            app = Sphinx(
                *(str(tmp_path / folder) for folder in (".", ".", "out", "trees")),
                buildername="html",
                confoverrides={
                    "extensions": ["ledger_page", "mathml"],
                    "html_math_renderer": "mathml",
                },
                status=None,
                warningiserror=True,
            )
            app.add_config_value("nb_execution_mode", "force" if executed else "off", "")
            if executed:
                app.connect("source-read", lambda app, page, _: page != "index" and leave(tmp_path))
            app.build()
        return BeautifulSoup((tmp_path / "out" / "index.html").read_text("utf-8"), "html.parser")

    return run


def leave(book: Path, **changes: object) -> Path:
    """A record as a notebook leaves it."""
    record = RECORD | changes
    path = book / "_build" / "ledger" / f"{record['notebook']}--{record['id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def claim(page: BeautifulSoup, name: str) -> Tag:
    return page.select(f"#claim-{name}")[0]


def test_the_ledger_shows_what_this_build_measured(build: Build, tmp_path: Path) -> None:
    page = build()
    shown = claim(page, "ed-persisted-crash-resume")
    assert "holds" in shown.text
    assert "control 137 emails lost; treatment 0 emails lost" in shown.text
    assert "commit before handling loses 12" in shown.text
    assert shown.a is not None and shown.a["href"] == "notebooks/04-4-crash.html"
    assert "not yet shown" in claim(page, "rd-cascade").text
    assert json.loads((tmp_path / "_build" / "ledger.json").read_text()) == [RECORD]


def test_a_record_does_not_outlive_the_run_that_made_it(build: Build, tmp_path: Path) -> None:
    stale = leave(tmp_path, id="rd-cascade")
    gone = leave(tmp_path, id="rd-cascade", notebook="09-9")
    page = build()
    assert not stale.exists() and not gone.exists()
    assert "not yet shown" in claim(page, "rd-cascade").text


def test_a_page_that_is_not_run_again_keeps_its_records(build: Build) -> None:
    build()
    assert "holds" in claim(build(), "ed-persisted-crash-resume").text


def test_a_draft_keeps_the_records_and_publishes_nothing(build: Build, tmp_path: Path) -> None:
    leave(tmp_path, control=9)
    page = build(executed=False)
    assert "control 9 emails lost" in claim(page, "ed-persisted-crash-resume").text
    assert not (tmp_path / "_build" / "ledger.json").exists()


def test_formulas_are_written_as_mathml(build: Build, tmp_path: Path) -> None:
    build()
    page = (tmp_path / "out" / "notebooks" / "04-4-crash.html").read_text("utf-8")
    assert "<msup><mi>a</mi><mn>2</mn></msup>" in page
    assert "mathjax" not in page.lower()


def test_a_draft_runs_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        nb_execution_mode = "force"

    config = Config()
    monkeypatch.delenv("BOOK_DRAFT", raising=False)
    mends.switch_execution_off(None, config)
    assert config.nb_execution_mode == "force"
    monkeypatch.setenv("BOOK_DRAFT", "1")
    mends.switch_execution_off(None, config)
    assert config.nb_execution_mode == "off"
