"""The rules of the decision helper, and its page in a small book."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import decision_rules
import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from checkout import CHECKOUT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from recorded import leave
from small_book import build_book, built_page
from sphinx.errors import SphinxWarning

SOURCE = CHECKOUT / "book" / "decisions.yml"
DECISIONS = decision_rules.read(SOURCE)
ALL = list(decision_rules.combinations(DECISIONS))
TEXT = (
    "```decision-helper\nIn JupyterLab.\n```\n\n## Cases\n\n```decision-cases\nIn JupyterLab.\n```"
)


def build(folder: Path, decisions: Any = DECISIONS) -> BeautifulSoup:
    """Build a book of a ledger, a notebook, and a page with the helper and its cases."""
    (folder / "book").mkdir(exist_ok=True)
    (folder / "notebooks").mkdir(exist_ok=True)
    contents = "```{toctree}\nbook/ledger\nbook/page\nbook/other\nnotebooks/04-4-crash\n```"
    pages = {
        "index.md": f"# Book\n\n{contents}\n",
        "book/ledger.md": "# The ledger\n\n```ledger\n```\n",
        "book/page.md": f"# Page\n\n{TEXT}\n",
        "book/other.md": "# Other\n\nNothing to decide.\n",
        "book/decisions.yml": yaml.safe_dump(decisions, allow_unicode=True),
    }
    for name, text in pages.items():
        if not (folder / name).exists() or (folder / name).read_text("utf-8") != text:
            (folder / name).write_text(text, encoding="utf-8")
    code = 'lab.claim(\n    "ed-persisted-crash-resume",\n    control=1,\n)'
    cells = [new_markdown_cell("# Crash it", id="title"), new_code_cell(code, id="claim")]
    metadata = {"language_info": {"name": "python", "pygments_lexer": "python"}}
    notebook = new_notebook(cells=cells, metadata=metadata)
    if not (folder / "notebooks" / "04-4-crash.ipynb").exists():
        nbformat.write(notebook, folder / "notebooks" / "04-4-crash.ipynb")
    fences = ["ledger", "decision-helper", "decision-cases"]
    options = {
        "extensions": ["myst_nb", "ledger_page", "claims_list", "decision_helper"],
        "nb_execution_mode": "off",
        "myst_fence_as_directive": fences,
        "exclude_patterns": ["out", "_build", "jupyter_execute"],
    }
    build_book(folder, **options)
    return page(folder, "page")


def page(folder: Path, name: str) -> BeautifulSoup:
    return built_page(folder, f"book/{name}")


def given(**answers: str) -> dict[str, str]:
    """The answers of a plain question, or others."""
    example = DECISIONS["examples"][0]["answers"]
    ids = [question["id"] for question in DECISIONS["questions"]]
    return dict(zip(ids, example, strict=True)) | answers


def test_every_rule_chooses_for_some_answers_and_every_option_is_recommended() -> None:
    rules = Counter(decision_rules.rule_for(DECISIONS, answers) for answers in ALL)
    assert set(rules) == set(range(len(DECISIONS["rules"])))
    options = {decision_rules.recommended(DECISIONS, answers) for answers in ALL}
    assert options == {option["id"] for option in DECISIONS["options"]}


def test_every_step_from_an_answer_to_its_neighbour_matters_somewhere() -> None:
    for question in DECISIONS["questions"]:
        ids = [answer["id"] for answer in question["answers"]]
        for one, next_one in pairwise(ids):
            assert any(
                decision_rules.recommended(DECISIONS, answers)
                != decision_rules.recommended(DECISIONS, answers | {question["id"]: next_one})
                for answers in ALL
                if answers[question["id"]] == one
            ), f"{question['id']}: {one} is as good as {next_one}"


@pytest.mark.parametrize("answers", ALL[:: len(ALL) // 40])
def test_a_reason_to_go_on_never_leads_away_from_going_on(answers: dict[str, str]) -> None:
    """Whoever may be told by an event stays so when the load gets spikes."""
    spiky = decision_rules.recommended(DECISIONS, answers | {"load": "spikes"})
    steady = decision_rules.recommended(DECISIONS, answers | {"load": "steady"})
    assert steady != "event" or spiky == "event"
    assert steady != "both" or spiky == "both"


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("Show a product", "request"),
        ("Announce an order", "event"),
        ("Charge a card", "request"),
        ("Convert a film", "both"),
        ("Save an order and its lines", "inside"),
    ],
)
def test_the_examples_get_the_answer_that_the_course_gives(name: str, option: str) -> None:
    (example,) = (each for each in DECISIONS["examples"] if each["name"] == name)
    ids = [question["id"] for question in DECISIONS["questions"]]
    answers = dict(zip(ids, example["answers"], strict=True))
    assert decision_rules.recommended(DECISIONS, answers) == option


def test_work_counts_against_patience_only_where_it_takes_longer() -> None:
    charge = given(kind="task", work="seconds", patience="seconds")
    assert decision_rules.recommended(DECISIONS, charge) == "request"
    assert decision_rules.recommended(DECISIONS, charge | {"patience": "moment"}) == "both"


def test_the_nearest_change_is_fewest_answers_then_fewest_steps() -> None:
    assert decision_rules.nearest(DECISIONS, given(), "inside") == [{"touches": "own"}]
    assert decision_rules.nearest(DECISIONS, given(), "both") == [{"work": "seconds"}]
    assert {"patience": "nobody", "kind": "task", "load": "spikes"} in decision_rules.nearest(
        DECISIONS, given(), "event"
    )


def test_twelve_cases_two_of_them_without_a_right_answer() -> None:
    cases = DECISIONS["cases"]
    assert len(cases) == 12
    assert [sum("right" in choice for choice in case["choices"]) for case in cases].count(0) == 2
    places = Counter(
        [choice.get("right") for choice in case["choices"]].index(True)
        for case in cases
        if "right" in case["choices"][0]
    )
    assert len(places) == 3 and max(places.values()) <= 5  # nobody learns the place by heart


Change = Callable[[dict[str, Any]], object]
FAULTS: dict[str, Change] = {
    r"no claim has the id 'rd-no-such'": lambda all: all["options"][0]["costs"][0].update(
        prices=["rd-no-such"]
    ),
    r"no claim has the id 'pick-no-such'": lambda all: all["questions"][0].update(
        criterion="pick-no-such"
    ),
    r"question 'load' needs two answers": lambda all: all["questions"][-1].update(answers=[]),
    r"there is no part 'cases'": lambda all: all.pop("cases"),
    r"have no names in `pairs`": lambda all: all["pairs"].pop("rd-cascade"),
    r"names 'rd-one-trace', which prices nothing": lambda all: all["pairs"].update(
        {"rd-one-trace": ["a", "b"]}
    ),
    r"chooses 'carrier pigeon', which is no": lambda all: all["rules"][0].update(
        option="carrier pigeon"
    ),
    r"the last rule has a condition": lambda all: all["rules"].pop(),
    r"a condition asks 'touches' for mine": lambda all: all["rules"][0].update(
        when=[{"touches": ["mine"]}]
    ),
    r"a condition asks 'patience' for none": lambda all: all["questions"][1]["answers"][1].update(
        {"if": {"patience": ["none"]}}
    ),
    r"example 'Charge a card' does not answer": lambda all: all["examples"][2]["answers"].pop(),
    r"answer 'moment' has the side 'left'": lambda all: all["questions"][0]["answers"][0].update(
        side="left"
    ),
    r"needs both `side` and `because`": lambda all: all["questions"][0]["answers"][0].pop("side"),
    r"case 'price' needs one right choice": lambda all: all["cases"][1]["choices"][0].update(
        right=True
    ),
    r"the cost 'It is' needs": lambda all: all["options"][0]["costs"].append({"say": "It is"}),
    r"something has no 'id'": lambda all: all["questions"][0].pop("id"),
}


@pytest.mark.parametrize("complaint", FAULTS)
def test_what_cannot_be_stops_the_build_with_a_sentence(tmp_path: Path, complaint: str) -> None:
    wrong = copy.deepcopy(DECISIONS)
    FAULTS[complaint](wrong)  # type: ignore[arg-type]
    (tmp_path / "decisions.yml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(decision_rules.DecisionsError, match=rf"^decisions.yml: .*{complaint}"):
        decision_rules.read(tmp_path / "decisions.yml")


def test_a_fault_in_the_decisions_is_an_error_of_the_build(tmp_path: Path) -> None:
    wrong = copy.deepcopy(DECISIONS)
    wrong["questions"][0]["answers"] = []
    with pytest.raises(SphinxWarning, match="question 'patience' needs two answers at least"):
        build(tmp_path, wrong)


def prices_of(page: BeautifulSoup, start: str) -> list[str]:
    """The prices on the page that begin so, as they are read."""
    texts = (" ".join(price.text.split()) for price in page.select(".price"))
    return [text for text in texts if text.startswith(start)]


def test_a_draft_says_what_is_not_shown_and_still_leads_to_the_experiment(tmp_path: Path) -> None:
    shown = build(tmp_path)
    crash = [price for price in shown.select(".price") if "Crash it" in price.text]
    assert crash and all(price.text.startswith("Not yet shown in this build") for price in crash)
    assert {link["href"] for link in crash[0].select("a")} == {
        "../notebooks/04-4-crash.html",
        "ledger.html#claim-ed-persisted-crash-resume",
    }
    assert "This build has run no notebook, so it has no numbers." in shown.text
    ledger = page(tmp_path, "ledger")
    for link in shown.select(".price a[href*='ledger.html#']"):
        assert ledger.find(id=link["href"].partition("#")[2]), link["href"]


def test_the_page_is_written_again_with_what_the_notebooks_measured(tmp_path: Path) -> None:
    build(tmp_path)
    leave(tmp_path)
    numbers = {"control": -0.002, "treatment": 1.02, "unit": "seconds added to the wait"}
    leave(tmp_path, id="rd-coupled-to-slow", notebook="03-5", **numbers)
    unit = "of 20 orders failed while the callee was down"
    leave(
        tmp_path, id="rd-coupled-to-down", notebook="03-5", control=0, treatment=20, unit=unit,
        verdict="failed",
    )  # fmt: skip
    shown = build(tmp_path)
    assert prices_of(shown, "Emails lost: told by a call 137, read from a topic 0. Crash it; Led")
    assert prices_of(shown, "Time added to the wait: by an event -2.0 ms, by a request 1.02 s. Led")
    assert prices_of(shown, f"By an event 0, by a request 20 {unit} (the claim: failed). Ledger.")
    assert "Measured 2026-11-26: 2 cores, Linux x86_64, Python 3.11.7." in shown.text


def test_the_record_of_the_notebook_that_a_price_names_is_shown(tmp_path: Path) -> None:
    leave(tmp_path)
    leave(tmp_path, notebook="04-6", control=3, unit="orders without an event")
    shown = build(tmp_path)
    assert prices_of(shown, "Emails lost: told by a call 137, read from a topic 0")
    assert prices_of(shown, "Orders without an event: published after the commit 3, from an outbo")


def test_only_a_page_with_a_helper_loads_its_script(tmp_path: Path) -> None:
    build(tmp_path)
    scripts = {
        name: str(page(tmp_path, name).head).count("decision-helper.") for name in ("page", "other")
    }
    assert scripts == {"page": 2, "other": 0}
    (script,) = page(tmp_path, "page").select("script[src*='decision-helper.js']")
    assert script.has_attr("defer") and not script.get("type")


def test_text_is_escaped_in_the_page_and_in_its_data(tmp_path: Path) -> None:
    odd = copy.deepcopy(DECISIONS)
    odd["questions"][0]["ask"] = "Is 1 < 2 </script><b>so</b> *really*?"
    shown = build(tmp_path, odd)
    (heading,) = (
        each for each in shown.select("th[scope=rowgroup]") if each.text.startswith("Is 1 < 2")
    )
    assert heading.text == "Is 1 < 2 </script><b>so</b> really?" and heading.em.text == "really"
    (data,) = shown.select("#decision-data")
    assert yaml.safe_load(data.string)["questions"][0]["ask"] == odd["questions"][0]["ask"]


def test_no_number_stands_in_the_words_that_a_notebook_measures() -> None:
    words = SOURCE.read_text("utf-8")
    said = re.findall(r"^ *(?:- )?(?:say|reply|because|is|reversible): .*$", words, re.MULTILINE)
    assert len(said) > 80
    assert [line for line in said if re.search(r"\d", line.replace("(202)", ""))] == []
