"""The rules of the decision helper: what ``book/decisions.yml`` may say, and what follows from it.

The page's script evaluates the same rules in ``book/_static/decision-helper.js``; a test compares
the two over all combinations of answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from shoplab.claims import claims

SIDES = ("wait", "go-on")
"""The two kinds of reasons: to wait for the result, and to go on without it."""

PARTS = (
    *("principle", "before", "questions", "rules", "options"),
    *("notes", "examples", "pairs", "cases"),
)

Decisions = Mapping[str, Any]
"""The content of ``decisions.yml``."""

Answers = Mapping[str, str]
"""The id of the answer that is given to each question, by the question's id."""


class DecisionsError(ValueError):
    """Something in ``decisions.yml`` that cannot be; the message names it."""


def read(path: Path) -> Decisions:
    """The decisions in a file; ``DecisionsError`` for the first thing that is wrong with them."""
    decisions = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        fault = next(faults(decisions), None)
    except KeyError as error:
        fault = f"something has no {error}"
    if fault:
        raise DecisionsError(f"{path.name}: {fault}")
    return decisions  # type: ignore[no-any-return]


def faults(decisions: Decisions) -> Iterator[str]:
    """What is wrong with the decisions, each in one sentence; nothing for good ones."""
    missing = [part for part in PARTS if not decisions.get(part)]
    if missing:
        yield f"there is no part '{missing[0]}'"
        return
    for question in decisions["questions"]:
        if len(question.get("answers") or []) < 2:
            yield f"question '{question['id']}' needs two answers at least"
            return
    for cost in (cost for option in decisions["options"] for cost in option["costs"]):
        if cost.keys() != {"say", "prices"}:
            yield f"the cost '{cost.get('say')}' needs `say` and `prices` and nothing else"
    yield from _unknown_prices(decisions)
    yield from _unknown_answers(decisions)
    options = {option["id"] for option in decisions["options"]}
    for rule in decisions["rules"]:
        if rule["option"] not in options:
            yield f"a rule chooses '{rule['option']}', which is no option"
    if decisions["rules"][-1].keys() != {"option", "because"}:
        yield "the last rule has a condition, so there may be answers without a recommendation"
    for case in decisions["cases"]:
        grades = [choice.get("right") for choice in case["choices"]]
        if len(grades) < 2 or (grades.count(True) != 1 and set(grades) != {None}):
            yield f"case '{case['id']}' needs one right choice, or choices without `right`"


def _unknown_prices(decisions: Decisions) -> Iterator[str]:
    used = set(prices(decisions))
    for question in decisions["questions"]:
        if question["criterion"] not in claims():
            yield f"no claim has the id '{question['criterion']}'"
    for price in sorted(used):
        if price.split()[0] not in claims():
            yield f"no claim has the id '{price.split()[0]}'"
        elif price not in decisions["pairs"]:
            yield f"the two runs of '{price}' have no names in `pairs`"
    for price in decisions["pairs"].keys() - used:
        yield f"`pairs` names '{price}', which prices nothing"


def prices(part: Any) -> Iterator[str]:
    """Every price that is named in the decisions, or in a part of them."""
    if isinstance(part, dict):
        yield from part.get("prices") or []
    for inner in part.values() if isinstance(part, dict) else part:
        if isinstance(inner, dict | list):
            yield from prices(inner)


def _unknown_answers(decisions: Decisions) -> Iterator[str]:
    known = {
        question["id"]: {answer["id"] for answer in question["answers"]}
        for question in decisions["questions"]
    }
    conditions: list[Mapping[str, list[str]]] = [
        condition
        for part in (*decisions["rules"], *decisions["notes"])
        for condition in part.get("when", ())
    ]
    conditions += [answer["if"] for answer in _answers(decisions) if "if" in answer]
    for condition in conditions:
        for question, allowed in condition.items():
            if not known.get(question, set()).issuperset(allowed):
                yield f"a condition asks '{question}' for {', '.join(allowed)}"
    for example in decisions["examples"]:
        pairs = zip(known.values(), example["answers"], strict=False)
        if len(example["answers"]) != len(known) or any(one not in of for of, one in pairs):
            yield f"example '{example['name']}' does not answer the questions in their sequence"
    for answer in _answers(decisions):
        if answer.get("side", SIDES[0]) not in SIDES:
            yield f"answer '{answer['id']}' has the side '{answer['side']}'"
        elif ("side" in answer) != ("because" in answer):
            yield f"answer '{answer['id']}' needs both `side` and `because`, or neither"


def _answers(decisions: Decisions) -> Iterator[dict[str, Any]]:
    for question in decisions["questions"]:
        yield from question["answers"]


def combinations(decisions: Decisions) -> Iterator[dict[str, str]]:
    """Every way to answer all questions."""
    questions = decisions["questions"]
    for ids in product(*([answer["id"] for answer in each["answers"]] for each in questions)):
        yield {question["id"]: one for question, one in zip(questions, ids, strict=True)}


def reasons(decisions: Decisions, given: Answers) -> list[dict[str, Any]]:
    """The answers among those given that are a reason for one side, in the questions' sequence."""
    return [
        answer
        for question in decisions["questions"]
        for answer in question["answers"]
        if given[question["id"]] == answer["id"]
        and "side" in answer
        and _fits(answer.get("if", {}), given)
    ]


def rule_for(decisions: Decisions, given: Answers) -> int:
    """The position of the first rule that fits the answers: it chooses."""
    found = reasons(decisions, given)
    sides = {reason["side"] for reason in found if reason.get("decides")}
    deciding = "both" if len(sides) == 2 else next(iter(sides), "none")
    counted = Counter(reason["side"] for reason in found)
    more = max(SIDES, key=lambda side: counted[side])
    if counted[SIDES[0]] == counted[SIDES[1]]:
        more = "none"
    for position, rule in enumerate(decisions["rules"]):
        if (
            any(_fits(condition, given) for condition in rule.get("when", [{}]))
            and deciding in rule.get("deciding", [deciding])
            and more == rule.get("counted", more)
        ):
            return position
    raise AssertionError("the last rule has no condition")


def recommended(decisions: Decisions, given: Answers) -> str:
    """The id of the option that the rules recommend."""
    return str(decisions["rules"][rule_for(decisions, given)]["option"])


def _fits(condition: Mapping[str, list[str]], given: Answers) -> bool:
    return all(given[question] in allowed for question, allowed in condition.items())


def distance(decisions: Decisions, one: Answers, other: Answers) -> tuple[int, int]:
    """How many answers differ, and by how many steps in all."""
    changed = [
        question
        for question in decisions["questions"]
        if one[question["id"]] != other[question["id"]]
    ]
    steps = 0
    for question in changed:
        ids = [answer["id"] for answer in question["answers"]]
        steps += abs(ids.index(one[question["id"]]) - ids.index(other[question["id"]]))
    return len(changed), steps


def nearest(decisions: Decisions, given: Answers, option: str) -> list[dict[str, str]]:
    """The answers to change, and into what, for another option: each of the nearest ways."""
    ways = [
        (distance(decisions, given, other), other)
        for other in combinations(decisions)
        if recommended(decisions, other) == option
    ]
    least = min((far for far, _ in ways), default=None)
    return [
        {question: one for question, one in other.items() if one != given[question]}
        for far, other in ways
        if far == least
    ]
