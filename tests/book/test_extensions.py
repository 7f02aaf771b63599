"""The book's own Sphinx extensions: diagrams, formulas, the ledger page, the draft."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import mends
import pytest
import sequence
from bs4 import BeautifulSoup, Tag
from recorded import RECORD, leave
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from shoplab.claims import claims
from shoplab.verdicts import Verdict

DIAGRAM = """
participants: Customer, Shop
wait Customer
Customer -> Shop: place an order of <two> books
note Shop: works
Shop --> Customer: thank you
done Customer
Shop -x Customer: a second answer
"""


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


def claim(page: BeautifulSoup, name: str) -> Tag:
    return page.select(f"#claim-{name}")[0]


def bars(shown: Tag) -> list[tuple[str, str, str]]:
    """The name of each bar, its value in words, its length as a share of the longest."""
    return [
        (line.dt.text, line.dd.text, line.dd["style"].partition(": ")[2])
        for line in shown.select("dl > div")
    ]


def test_the_ledger_shows_what_this_build_measured(build: Build, tmp_path: Path) -> None:
    page = build()
    shown = claim(page, "ed-persisted-crash-resume")
    assert [badge.text for badge in shown.select(".verdict")] == ["holds"]
    assert shown.text.count("emails lost") == 1
    assert bars(shown) == [("control", "137", "1.000"), ("treatment", "0", "0.000")]
    assert "Where it ends: commit before handling loses 12." in shown.text
    assert "Measured 2026-11-26 19:06:01 UTC: 2 cores, Linux x86_64, Python 3.11.7." in shown.text
    assert [(link["href"], link.text) for link in shown.select("a")] == [
        ("notebooks/04-4-crash.html", "Crash")
    ]
    assert claim(page, "rd-cascade").find_parent(class_="ledger-rest")
    assert json.loads((tmp_path / "_build" / "ledger.json").read_text()) == [RECORD]


def test_each_section_is_listed_with_what_is_shown_of_it(build: Build) -> None:
    page = build()
    listed = {item.a["href"]: item.text for item in page.select(".ledger-contents li")}
    assert listed["#ledger-event-driven"] == "Event-driven architecture (1 of 11)"
    assert listed["#ledger-saga"] == "The saga pattern (0 of 4)"
    assert all(page.select(anchor) for anchor in listed)
    assert "#ledger-beyond" not in listed
    choices = [button["value"] for button in page.select(".ledger-filter input")]
    assert choices == ["all", "holds", "none"]
    assert "Shown in this build: 1 of 52 claims. Measured 2026-11-26: 2 cores" in page.text


def test_a_page_says_what_the_build_was_measured_on(build: Build, tmp_path: Path) -> None:
    text = (tmp_path / "index.rst").read_text()
    (tmp_path / "index.rst").write_text(text.replace(".. ledger::", ".. measured-on::"))
    assert [each.text for each in build(executed=False).select("dl > *")] == [
        *("This build", "It has run no notebook, so it has no numbers."),
    ]
    (tmp_path / "book").mkdir()
    evidence = {"date": "2026-11-25", "machine": "4 cores", "rounds": 10, "claims": {}}
    (tmp_path / "book" / "evidence.json").write_text(json.dumps(evidence))
    leave(tmp_path)
    assert [each.text for each in build(executed=False).select("dl > *")] == [
        *("This build", "2026-11-26, 2 cores, Linux x86_64, Python 3.11.7"),
        *("Its servers", "Redis 7.0.15 (on the path)"),
        *("Its evidence", "2026-11-25, 10 rounds, 4 cores"),
    ]


def test_a_claim_that_the_document_does_not_make_is_listed_once_it_is_shown(
    build: Build, tmp_path: Path
) -> None:
    leave(tmp_path, id="x-compaction")
    page = build(executed=False)
    assert claim(page, "x-compaction") and not page.select("#claim-x-rebalance")
    assert page.select("a[href='#ledger-beyond']")[0].text == "Beyond the document"


def test_every_verdict_has_its_words_and_its_bars(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    false = replace(claims()["rd-cascade"], corrected="Some of it blocks.")
    monkeypatch.setitem(claims(), "rd-cascade", false)
    others = {"control": 4, "treatment": 1, "notebook": "04-4"}
    decided = {"control_with_it": 1, "treatment_without_it": 4}
    leave(tmp_path, id="rd-one-trace", verdict=str(Verdict.DECIDED), decided_by=decided, **others)
    corrected = {"verdict": str(Verdict.CORRECTED), "corrected": {"as_said": 8}}
    leave(tmp_path, id="rd-cascade", **corrected, **others)
    leave(tmp_path, id="rd-card-payment", verdict=str(Verdict.FAILED), **others)
    leave(tmp_path, id="rd-reproducible", **others)
    page = build(executed=False)

    shown = claim(page, "rd-one-trace")
    assert shown.select(".verdict")[0].text == "holds, but something else decides"
    assert "What decides: the header that every service passes on." in shown.text
    assert bars(shown) == [
        ("control without it", "4", "1.000"),
        ("treatment without it", "4", "1.000"),
        ("control with it", "1", "0.250"),
        ("treatment with it", "1", "0.250"),
    ]
    shown = claim(page, "rd-cascade")
    assert shown.select(".verdict")[0].text == "does not hold as said"
    assert "Corrected: Some of it blocks." in shown.text
    assert bars(shown)[2] == ("as said", "8", "1.000")
    assert claim(page, "rd-card-payment").select(".verdict")[0].text == "failed"
    shown = claim(page, "rd-reproducible")
    assert shown.select(".verdict")[0].text == "holds"
    assert "instead: whether the answer depends on state. That run is not yet shown" in shown.text

    choices = {
        button["value"]: button.parent.text for button in page.select(".ledger-filter input")
    }
    assert choices == {
        "all": " all (52)",
        "holds": " holds (1)",
        "decided": " holds, but something else decides (1)",
        "corrected": " does not hold as said (1)",
        "failed": " failed (1)",
        "none": " not yet shown (48)",
    }
    assert {part["data-verdict"] for part in page.select("[data-verdict]")} == {*choices} - {"all"}


@pytest.mark.parametrize(
    ("control", "treatment", "lengths"),
    [
        (-0.000374, 1.01, ["0.000", "1.000"]),
        (0, 0, ["0.000", "0.000"]),
        (True, False, ["0.000", "0.000"]),
        ("paid", "processing", ["0.000", "0.000"]),
    ],
)
def test_a_value_that_has_no_length_is_said_and_not_drawn(
    build: Build, tmp_path: Path, control: object, treatment: object, lengths: list[str]
) -> None:
    leave(tmp_path, control=control, treatment=treatment)
    drawn = bars(claim(build(executed=False), "ed-persisted-crash-resume"))
    assert [length for _, _, length in drawn] == lengths
    assert all(words for _, words, _ in drawn)


def test_two_notebooks_of_a_claim_stand_below_one_verdict(build: Build, tmp_path: Path) -> None:
    leave(tmp_path, notebook="04-6", verdict=str(Verdict.FAILED))
    leave(tmp_path)
    shown = claim(build(executed=False), "ed-persisted-crash-resume")
    assert [badge.text for badge in shown.select(".verdict")] == ["failed"]
    assert [cell.get("rowspan") for cell in shown.select("tr")[0].find_all(["th", "td"])] == [
        "2",
        "2",
        None,
    ]
    assert len(shown.select("tr")) == 2


def test_evidence_has_a_column_where_the_checkout_has_some(build: Build, tmp_path: Path) -> None:
    leave(tmp_path)
    leave(tmp_path, id="rd-cascade")
    heads = [head.text for head in build(executed=False).select("thead th")]
    assert "Evidence" not in heads
    runs = {"held": 19, "runs": 20, "control": [137, 140, 150], "treatment": [0, 0, 0]}
    ours = {"ed-persisted-crash-resume": {"04-4": runs | {"margin": 0.43}}}
    facts = {"date": "2026-11-27", "machine": "8 cores, Linux", "rounds": 20, "claims": ours}
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "evidence.json").write_text(json.dumps(facts))
    page = build(executed=False)
    assert claim(page, "ed-persisted-crash-resume").select("td")[-1].text == "held in 19 of 20 runs"
    assert claim(page, "rd-cascade").select("td")[-1].text == ""
    assert "Evidence 2026-11-27, 20 rounds: 8 cores, Linux." in page.text


def test_a_page_that_is_not_run_again_keeps_its_records(build: Build) -> None:
    build()
    assert "holds" in claim(build(), "ed-persisted-crash-resume").text


def test_a_draft_keeps_the_records_and_publishes_nothing(build: Build, tmp_path: Path) -> None:
    leave(tmp_path, control=9)
    page = build(executed=False)
    assert bars(claim(page, "ed-persisted-crash-resume"))[0][1] == "9"
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
