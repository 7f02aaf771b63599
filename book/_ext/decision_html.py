"""The decision helper as HTML: all that it knows as a table, and the cases with folded answers.

A reader without scripts has this. The page's script builds a form from the same data, folds the
table away, and turns the cases into questions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from decision_rules import Decisions, prices

KINDS = {"wait": "waiting", "go-on": "going on"}
"""The two kinds of reasons, in the words of the page."""

GRADES = {True: "Right.", False: "No.", None: "There is no right answer."}


@dataclass(frozen=True)
class Price:
    """What the ledger says where a price is named: a text, and links with what they lead to."""

    text: str
    links: list[tuple[str, str]]


Priced = Callable[[str], Price]
"""From a price, as ``decisions.yml`` names it, to what the ledger says."""


def helper(decisions: Decisions, priced: Priced, measured: str) -> str:
    """The principle, the table, and the data for the script."""
    parts = [
        _answers(decisions, priced),
        _rules(decisions),
        _notes(decisions, priced),
        *(_option(option, priced) for option in decisions["options"]),
    ]
    known = {price: asdict(priced(price)) for price in sorted(set(prices(_asked(decisions))))}
    data = {**_asked(decisions), "prices": known, "measured": measured, "kinds": KINDS}
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    principle = f"{rich(decisions['principle'])} {rich(decisions['before'])}"
    return (
        f'<div class="decision-helper"><p>{principle}</p>'
        f'<details class="decision-table" open><summary>All questions, rules and answers as a table'
        f"</summary>{''.join(parts)}<p>{escape(measured)}</p></details>"
        f'<script type="application/json" id="decision-data">{text}</script></div>'
    )


def _asked(decisions: Decisions) -> dict[str, Any]:
    """What the script needs to know."""
    parts = ("questions", "rules", "options", "notes", "examples")
    return {part: decisions[part] for part in parts}


def rich(text: str) -> str:
    """A text of ``decisions.yml`` as HTML."""
    return re.sub(r"\*(.+?)\*", r"<em>\1</em>", escape(text.strip()))


def _measured(part: dict[str, Any], priced: Priced) -> str:
    """The prices of a part, each in a line."""
    return "".join(map(_price, map(priced, part.get("prices", ()))))


def _price(price: Price) -> str:
    links = (f'<a href="{escape(target)}">{escape(text)}</a>' for text, target in price.links)
    return f'<span class="price">{rich(price.text)}. {"; ".join(links)}.</span>'


def _answers(decisions: Decisions, priced: Priced) -> str:
    columns = ("Answer", "A reason", "Why, and what was measured")
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    bodies = []
    for question in decisions["questions"]:
        rows = "".join(_answer(decisions, answer, priced) for answer in question["answers"])
        heading = f'<tr><th scope="rowgroup" colspan="3">{rich(question["ask"])}</th></tr>'
        bodies.append(f"<tbody>{heading}{rows}</tbody>")
    return f"<table><thead><tr>{head}</tr></thead>{''.join(bodies)}</table>"


def _answer(decisions: Decisions, answer: dict[str, Any], priced: Priced) -> str:
    kind = KINDS[answer["side"]] if "side" in answer else "neither"
    decides = ", decides" * answer.get("decides", False)
    why = rich(answer.get("because", "")) + _only(decisions, answer.get("if", {}))
    return (
        f"<tr><td>{rich(answer['say'])}</td><td>for {kind}{decides}</td>"
        f"<td>{why}{_measured(answer, priced)}</td></tr>"
    )


def _only(decisions: Decisions, condition: dict[str, list[str]]) -> str:
    """Which other answers a reason needs."""
    return f" (Only with this answer. {_words(decisions, condition)})" if condition else ""


def _words(decisions: Decisions, condition: dict[str, list[str]]) -> str:
    """The answers that a condition asks for."""
    asked = []
    for question in decisions["questions"]:
        said = [
            f"<em>{rich(answer['say']).rstrip('.')}</em>"
            for answer in question["answers"]
            if answer["id"] in condition.get(question["id"], ())
        ]
        if said:
            asked.append(f"{rich(question['ask'])} {', or '.join(said)}.")
    return " ".join(asked)


def _notes(decisions: Decisions, priced: Priced) -> str:
    """What there is to say to a combination of answers."""
    items = (
        f"<li>{' Or: '.join(_words(decisions, condition) for condition in note['when'])}"
        f"<p>{rich(note['say'])}{_measured(note, priced)}</p></li>"
        for note in decisions["notes"]
    )
    return f"<p>Some answers together deserve a word:</p><ul>{''.join(items)}</ul>"


def _rules(decisions: Decisions) -> str:
    names = {option["id"]: option["name"] for option in decisions["options"]}
    items = (
        f"<li>{rich(rule['because'])} <strong>{escape(names[rule['option']])}.</strong></li>"
        for rule in decisions["rules"]
    )
    return f"<p>The first of these rules that fits chooses:</p><ol>{''.join(items)}</ol>"


def _option(option: dict[str, Any], priced: Priced) -> str:
    costs = (f"<li>{rich(cost['say'])}{_measured(cost, priced)}</li>" for cost in option["costs"])
    misuse = option["misuse"]
    return (
        f"<h3>{escape(option['name'])}</h3><p>{rich(option['is'])}</p>"
        f"<p>What it costs:</p><ul>{''.join(costs)}</ul>"
        f"<p>To change it later: {_lower(rich(option['reversible']))}</p>"
        f"<p>The usual misuse: {_lower(rich(misuse['say']))}{_measured(misuse, priced)}</p>"
    )


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def cases(decisions: Decisions, priced: Priced) -> str:
    """Every case: what happened, the question, the choices, and the folded answers."""
    return "".join(_case(number, case, priced) for number, case in enumerate(decisions["cases"], 1))


def _case(number: int, case: dict[str, Any], priced: Priced) -> str:
    choices = (f"<li>{rich(choice['say'])}</li>" for choice in case["choices"])
    replies = (_reply(choice, priced) for choice in case["choices"])
    return (
        f'<section class="decision-case" id="case-{case["id"]}">'
        f"<h3>{number}. {escape(case['title'])}</h3><p>{rich(case['tell'])}</p>"
        f'<p class="ask">{rich(case["ask"])}</p><ol>{"".join(choices)}</ol>'
        f"<details><summary>What the runs say to each answer</summary><ol>{''.join(replies)}</ol>"
        "</details></section>"
    )


def _reply(choice: dict[str, Any], priced: Priced) -> str:
    right = choice.get("right")
    grade = {True: "right", False: "wrong", None: "open"}[right]
    return (
        f'<li data-grade="{grade}"><strong>{GRADES[right]}</strong> {rich(choice["reply"])}'
        f"{_measured(choice, priced)}</li>"
    )
