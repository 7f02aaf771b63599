"""The decision helper of the built book: by http and as a file, by keyboard, in every look."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import decision_rules
import pytest
from browsing import AXE, CUT_OFF, MODES
from bs4 import BeautifulSoup
from checkout import CHECKOUT
from playwright.sync_api import Browser, BrowserContext, Page, expect

PATH = "book/02-which-to-pick.html"
DECISIONS = decision_rules.read(CHECKOUT / "book" / "decisions.yml")
ALL = list(decision_rules.combinations(DECISIONS))
OPTIONS = {option["id"]: option for option in DECISIONS["options"]}
QUESTIONS = [question["id"] for question in DECISIONS["questions"]]
CHARGE = "Charge a card"
HEAVIEST = 40_000  # bytes of the script and its style sheet
REJECT = "navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')), null"

Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a page in a context of its own; at the end, none has had an error."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def opened(url: str, theme: str = "light", **options: object) -> Page:
        # Not by a script before each document, which writes storage, as for pages that are only
        # looked at: what a page from a file has stored is then lost when it is loaded again.
        context = browser.new_context(color_scheme=theme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda said: (
                said.type == "error" and errors.append(f"{said.text} {said.location['url']}")
            ),
        )
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(params=["http", "file"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the page is: with a server, and without one."""
    if request.param == "http":
        return str(request.getfixturevalue("address")) + PATH
    html: Path = request.getfixturevalue("html")
    return (html / PATH).as_uri()


@pytest.fixture
def page(open_page: Open, address: str) -> Page:
    return open_page(address + PATH)


def plain(text: str) -> str:
    """A text of the decisions as it is read."""
    return " ".join(text.replace("*", "").split())


def choose(page: Page, example: str) -> None:
    page.get_by_role("button", name=example, exact=True).click()


def headline(page: Page) -> str:
    return page.locator(".decision-form h3 output").inner_text()


def record(page: Page) -> str:
    return page.locator(".decision-actions textarea").input_value()


def fill(page: Page) -> None:
    """Bring the helper into the state of a reader who has used all of it."""
    for example in DECISIONS["examples"]:
        choose(page, example["name"])
        page.get_by_role("button", name="Add to the boundary map").click()
    page.locator(".decision-actions summary").click()
    for number, case in enumerate(DECISIONS["cases"]):
        box = page.locator(f"#case-{case['id']}")
        box.get_by_role("radio").nth(number % 3).check()
        box.get_by_role("button", name="Check").click()


def given_in(page: Page) -> dict[str, str]:
    return page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.decision-form :checked')]"
        ".map(one => [one.name.replace('decision-', ''), one.value]))"
    )


def test_eight_answers_bring_a_recommendation_with_reasons_and_prices(
    open_page: Open, place: str
) -> None:
    page = open_page(place)
    assert headline(page) == "0 of 8 questions answered"
    assert not page.get_by_role("button", name="Copy the link").is_visible()
    answers = dict(zip(QUESTIONS, DECISIONS["examples"][2]["answers"], strict=True))
    for number, question in enumerate(DECISIONS["questions"], 1):
        (answer,) = (a for a in question["answers"] if a["id"] == answers[question["id"]])
        group = page.get_by_role("group", name=plain(question["ask"]))
        group.get_by_role("radio", name=plain(answer["say"])).check()
        assert number == 8 or headline(page) == f"{number} of 8 questions answered"
    assert headline(page) == "Recommended: a request"
    result = page.locator(".decision-result")
    text = plain(result.inner_text())
    for reason in decision_rules.reasons(DECISIONS, answers):
        assert ("Decides. " if reason.get("decides") else "") + plain(reason["because"]) in text
    for cost in OPTIONS["request"]["costs"]:
        assert plain(cost["say"]) in text
    assert plain(OPTIONS["request"]["reversible"]) in text
    assert plain(OPTIONS["request"]["misuse"]["say"]) in text
    prices = result.locator(".price").all()
    assert len(prices) >= 8
    for price in prices:
        assert price.locator("a").last.get_attribute("href").startswith("ledger.html")
        assert re.search(r"Not yet shown in this build|\d|yes|no", price.inner_text())


def test_the_rules_are_the_same_in_python_and_in_the_page(page: Page) -> None:
    found = page.evaluate(
        "decisionHelper.combinations().map(one => [one, decisionHelper.recommended(one)])"
    )
    assert [answers for answers, _ in found] == ALL
    assert [option for _, option in found] == [
        decision_rules.recommended(DECISIONS, answers) for answers in ALL
    ]


def test_every_change_that_is_named_flips_and_none_is_nearer(page: Page) -> None:
    """By brute force: 60 ways to answer, chosen by a fixed seed, and for each every option."""
    table = [(answers, decision_rules.recommended(DECISIONS, answers)) for answers in ALL]
    for given, now in random.Random(2).sample(table, 60):
        for option in OPTIONS.keys() - {now}:
            found = page.evaluate(
                "([given, option]) => decisionHelper.nearest(given, option).ways", [given, option]
            )
            distances = {
                json.dumps(other, sort_keys=True): decision_rules.distance(DECISIONS, given, other)
                for other, chosen in table
                if chosen == option
            }
            least = min(distances.values())
            assert {json.dumps(given | way, sort_keys=True) for way in found} == {
                other for other, far in distances.items() if far == least
            }


def test_trying_a_change_leads_to_the_answer_that_it_names(page: Page) -> None:
    for example in DECISIONS["examples"]:
        choose(page, example["name"])
        count = page.get_by_role("button", name="Try it").count()
        assert count >= 3
        for number in range(count):
            choose(page, example["name"])
            before = given_in(page)
            button = page.get_by_role("button", name="Try it").nth(number)
            promised = " ".join(button.inner_text().split()).removeprefix("Try it for ")
            button.click()
            assert headline(page) == f"Recommended: {promised}"
            assert given_in(page) != before
            assert page.evaluate("document.activeElement.closest('h3, form').tagName") == "H3"


def test_the_keyboard_alone_does_all_of_it(open_page: Open, place: str) -> None:
    page = open_page(place)

    def tab_to(selector: str) -> None:
        for _ in range(200):
            page.keyboard.press("Tab")
            if page.evaluate("one => document.activeElement.matches(one)", selector):
                style = page.evaluate(
                    "(() => { const {outlineStyle, outlineWidth} ="
                    " getComputedStyle(document.activeElement);"
                    " return [outlineStyle, parseFloat(outlineWidth)]; })()"
                )
                assert style[0] != "none" and style[1] >= 2, f"{selector}: the focus is not seen"
                return
        raise AssertionError(f"Tab does not reach {selector}")

    page.locator(".decision-form [type=text]").focus()
    page.keyboard.type("Charge it")
    for question in QUESTIONS:
        tab_to(f"[name=decision-{question}]")
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")
    assert [answers.index(given_in(page)[one]) for one, answers in answer_ids().items()] == [1] * 8
    assert headline(page).startswith("Recommended: ")
    tab_to(".decision-result .decision-button")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "H3"
    tab_to(".decision-actions > .decision-button")
    page.keyboard.press("Enter")
    assert page.locator(".boundary-map li strong").all_inner_texts() == ["Charge it"]
    tab_to(".decision-actions summary")
    page.keyboard.press("Space")
    assert page.locator("textarea").is_visible()
    tab_to(".boundary-map li button:last-of-type")
    page.keyboard.press("Enter")
    assert page.locator(".boundary-map li").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "The boundary map"
    tab_to("[name=case-receipt]")
    page.keyboard.press("Space")
    tab_to("#case-receipt button")
    page.keyboard.press("Enter")
    assert page.locator("#case-receipt output").inner_text().startswith("Right.")


def answer_ids() -> dict[str, list[str]]:
    return {
        question["id"]: [answer["id"] for answer in question["answers"]]
        for question in DECISIONS["questions"]
    }


def test_a_screen_reader_hears_what_is_recommended_and_what_was_copied(page: Page) -> None:
    choose(page, CHARGE)
    for selector in (".decision-form h3 output", ".decision-said", ".decision-score output"):
        assert page.locator(selector).get_attribute("aria-live") == "polite"
    tree = page.locator(".decision-form").aria_snapshot()
    assert '- group "How does the load come?"' in tree
    assert '- radio "The other side can take what comes." [checked]' in tree
    assert '- status: "Recommended: a request"' in tree
    page.get_by_role("button", name="Add to the boundary map").click()
    expect(page.locator(".decision-said")).to_have_text("“Charge a card” is in the map.")
    names = [each.inner_text() for each in page.get_by_role("button", name="Open").all()]
    assert [" ".join(name.split()) for name in names] == ["Open Charge a card"]


def test_several_interactions_become_a_map_with_a_line(page: Page) -> None:
    fill(page)
    items = page.locator(".boundary-map li")
    line = page.locator(".boundary-map ul").bounding_box()
    middle = line["x"] + line["width"] / 2
    sides = {"request": "left", "event": "right", "both": "across", "inside": "left"}
    for number, example in enumerate(DECISIONS["examples"]):
        item = items.nth(number)
        answers = dict(zip(QUESTIONS, example["answers"], strict=True))
        option = decision_rules.recommended(DECISIONS, answers)
        assert item.locator("strong").inner_text() == example["name"]
        assert OPTIONS[option]["name"] in item.inner_text()
        box = item.bounding_box()
        left, right = box["x"], box["x"] + box["width"]
        side = "left" if right <= middle else "right" if left >= middle else "across"
        assert side == sides[option]
    choose(page, "Show a product")
    page.get_by_role("button", name="Add to the boundary map").click()
    assert items.count() == 5  # an interaction that is added again takes its own place
    film = items.filter(has_text="Convert a film")
    film.get_by_role("button", name="Open").click()
    assert headline(page) == "Recommended: a request that starts, an event that finishes"
    assert page.locator(".decision-form [type=text]").input_value() == "Convert a film"


def test_the_address_holds_the_state(open_page: Open, place: str) -> None:
    first = open_page(place)
    fill(first)
    choose(first, "Convert a film")
    second = open_page(first.url)
    assert given_in(second) == given_in(first) != {}
    assert headline(second) == headline(first)
    names = second.locator(".boundary-map li strong").all_inner_texts()
    assert names == [example["name"] for example in DECISIONS["examples"]]
    assert record(second) == record(first)
    assert second.locator(".decision-helper").evaluate(
        "one => Math.abs(one.getBoundingClientRect().top) < innerHeight"
    )
    second.evaluate("location.hash = 'decide=00120000&name=Other'")
    expect(second.locator(".decision-form h3 output")).to_have_text("Recommended: a request")
    second.evaluate("location.hash = 'twelve-cases'")
    assert headline(second) == "Recommended: a request"


@pytest.mark.parametrize(
    "state",
    [
        "decide=99999999&map=99999999x",
        "decide=&map=&map=0",
        "decide=00000000000000000&name=%00",
        "decide=-0-0-0-0&map=--------Half",
        "decide=" + "0" * 5000,
        "map=00000000No answers",
    ],
)
def test_an_address_that_somebody_broke_does_no_harm(
    open_page: Open, address: str, state: str
) -> None:
    page = open_page(f"{address}{PATH}#{state}")
    assert re.fullmatch(r"\d of 8 questions answered|Recommended: .+", headline(page))
    assert page.locator(".boundary-map li").count() == 0


def test_a_name_is_text_and_never_markup(open_page: Open, address: str) -> None:
    name = "<img src=x onerror=alert(1)> *a*"
    page = open_page(f"{address}{PATH}#decide=11101000&name={name}&map=11101000{name}")
    assert page.locator(".boundary-map li strong").inner_text() == name
    assert page.locator(".decision-helper img, .boundary-map em").count() == 0
    assert record(page).startswith(f"# {name}: a request\n")


def test_the_record_says_all_and_is_copied(open_page: Open, place: str) -> None:
    page = open_page(place, permissions=["clipboard-read", "clipboard-write"])
    fill(page)
    choose(page, CHARGE)
    page.get_by_role("button", name="Copy the decision record").click()
    expect(page.locator(".decision-said")).to_have_text("The record is copied.")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text == record(page)
    assert text.startswith("# Charge a card: a request\n\nDecided 20")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == [
        *("Context", "Decision", "Reasons", "Price", "What would change it"),
        *("To change it later", "The usual misuse", "The boundary map"),
        "The same, to be continued",
    ]
    given = given_in(page)
    for question in DECISIONS["questions"]:
        (answer,) = (a for a in question["answers"] if a["id"] == given[question["id"]])
        assert f"- {question['ask']} *{plain(answer['say']).rstrip('.')}*\n" in text
    data = json.loads(page.locator("#decision-data").text_content())
    option = OPTIONS["request"]
    for reason in decision_rules.reasons(DECISIONS, given):
        decides = ", decides" * reason.get("decides", False)
        assert f"- For waiting{decides}: {reason['because']}\n" in text
    for part in (*decision_rules.reasons(DECISIONS, given), *option["costs"], option["misuse"]):
        for price in part["prices"]:
            assert f"- {data['prices'][price]['text']}. Claim `{price}`: [" in text
    links = re.findall(r"\]\((\S+?)\)", text)
    root = page.url.partition("book/")[0]
    assert links and all(link.startswith(root) for link in links)
    assert data["measured"] in text
    for other in OPTIONS.keys() - {"request"}:
        assert f"- {OPTIONS[other]['name']}: " in text
    assert text.endswith(f"<{page.url}>\n")
    page.get_by_role("button", name="Copy the link").click()
    expect(page.locator(".decision-said")).to_have_text("The link is copied.")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_where_a_page_may_not_copy_the_text_is_there_to_be_copied(page: Page) -> None:
    choose(page, CHARGE)
    page.evaluate(REJECT)
    page.get_by_role("button", name="Copy the decision record").click()
    expect(page.locator(".decision-said")).to_contain_text("copy it from there")
    assert page.evaluate(
        "(one => one.value.slice(one.selectionStart, one.selectionEnd))(document.activeElement)"
    ) == record(page)


def test_all_twelve_cases_can_be_answered_and_are_remembered(open_page: Open, place: str) -> None:
    page = open_page(place)
    score = page.locator(".decision-score output")
    for answered, case in enumerate(DECISIONS["cases"], 1):
        box = page.locator(f"#case-{case['id']}")
        assert box.locator("output").inner_text() == "" and not box.locator("details").count()
        for choice in case["choices"]:
            box.get_by_role("radio", name=plain(choice["say"]), exact=True).check()
            box.get_by_role("button", name="Check").click()
            reply = plain(box.locator("output").inner_text())
            grade = {True: "Right.", False: "No.", None: "There is no right answer."}
            start = f"{grade[choice.get('right')]} {plain(choice['reply'])}"
            assert reply.startswith(start)
            assert box.locator("output .price").count() == len(choice["prices"]) >= 1
            assert box.locator("output .price a").last.get_attribute("href")
        expect(score).to_contain_text(f"{answered} of 12 answered")
    page.reload()
    expect(score).to_contain_text("12 of 12 answered")
    last = DECISIONS["cases"][0]["choices"][-1]
    box = page.locator("#case-receipt")
    assert box.get_by_role("radio", name=plain(last["say"])).is_checked()
    assert plain(last["reply"]) in plain(box.locator("output").inner_text())
    page.get_by_role("button", name="Forget my answers").click()
    page.reload()
    expect(score).to_have_text("0 of 12 answered.")
    assert page.locator(".decision-case :checked").count() == 0


def test_the_score_counts_right_answers_of_those_cases_that_have_one(page: Page) -> None:
    for case, place in (("receipt", 0), ("price", 0), ("stock", 1)):
        page.locator(f"#case-{case}").get_by_role("radio").nth(place).check()
        page.locator(f"#case-{case}").get_by_role("button").click()
    assert page.locator(".decision-score output").inner_text() == (
        "3 of 12 answered. Of 2 that have a right answer, 1 right."
    )


def audit(page: Page) -> list[str]:
    """What axe finds; it loads no style sheets of its own, one of which it looks for in vain."""
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate(AXE)
    found = page.evaluate(
        "axe.run(document, {resultTypes: ['violations'], preload: false,"
        " rules: {'label-content-name-mismatch': {enabled: true}}})"
    )
    return [
        f"{fault['impact']} {fault['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize(("theme", "width"), MODES)
def test_the_filled_helper_fits_and_axe_finds_nothing(
    open_page: Open, address: str, theme: str, width: int
) -> None:
    page = open_page(address + PATH, theme, viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    fill(page)
    for name in ("Announce an order", "Convert a film", CHARGE):
        choose(page, name)
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    long = "Averylongnamewithoutanyplacetobreak" * 2
    page.locator(".decision-form [type=text]").fill(long)
    page.get_by_role("button", name="Add to the boundary map").click()
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    assert page.locator(".bd-article :not(pre)").evaluate_all(CUT_OFF) == []
    assert audit(page) == []


def test_forced_colours_leave_what_says_something(open_page: Open, address: str) -> None:
    page = open_page(address + PATH, forced_colors="active")
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    fill(page)
    choose(page, CHARGE)
    style = "(one, pseudo) => { const s = getComputedStyle(one, pseudo); return {...s}; }"
    line = page.evaluate(
        "(() => { const s = getComputedStyle(document.querySelector('.boundary-map ul'),"
        " '::before'); return [s.borderLeftStyle, s.borderLeftWidth]; })()"
    )
    assert line == ["dashed", "3px"]  # a border, which forced colours keep; no background
    for selector in (".boundary-map li", ".decision-form fieldset", ".decision-button"):
        found = page.locator(selector).first.evaluate(style)
        assert found["borderTopStyle"] != "none"
    chosen = page.locator(".decision-form label:has(:checked)").first.evaluate(style)
    assert int(chosen["fontWeight"]) >= 600
    borders = {
        grade: page.locator(f"output[data-grade={grade}]").first.evaluate(style)["borderLeftStyle"]
        for grade in ("right", "wrong")
    }
    assert borders == {"right": "solid", "wrong": "dashed"}
    assert audit(page) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_without_scripts_all_of_it_is_there(
    open_page: Open, place: str, width: int, html: Path
) -> None:
    page = open_page(place, java_script_enabled=False, viewport={"width": width, "height": 900})
    assert page.locator(".decision-form, .decision-score").count() == 0
    table = page.locator(".decision-table")
    assert table.locator("table").is_visible()
    heading, whole = (table.locator(part).first for part in ("th[scope=rowgroup]", "table"))
    assert heading.bounding_box()["width"] > 0.8 * whole.bounding_box()["width"]
    text = plain(table.inner_text())
    expected = [DECISIONS["principle"], DECISIONS["before"]]
    assert all(plain(each) in plain(page.locator("article").inner_text()) for each in expected)
    for question in DECISIONS["questions"]:
        assert plain(question["ask"]) in text
        for answer in question["answers"]:
            assert plain(answer["say"]) in text and plain(answer.get("because", "")) in text
    for part in (*DECISIONS["rules"], *DECISIONS["notes"], *OPTIONS.values()):
        said = (part.get("because"), part.get("say"), part.get("is"), part.get("name"))
        assert all(plain(each) in text for each in said if each)
    for option in OPTIONS.values():
        words = (*(cost["say"] for cost in option["costs"]), option["misuse"]["say"])
        assert all(plain(each)[1:] in text for each in (*words, option["reversible"]))
    data = BeautifulSoup((html / PATH).read_text("utf-8"), "html.parser").select("#decision-data")
    for price in json.loads(data[0].string)["prices"].values():
        assert plain(price["text"]) in text
    for case in DECISIONS["cases"]:
        box = page.locator(f"#case-{case['id']}")
        assert plain(case["tell"]) in plain(box.inner_text())
        reply = plain(case["choices"][0]["reply"])
        assert reply not in plain(box.inner_text())  # folded, until the reader opens it
        box.locator("summary").click()
        text_of_case = plain(box.inner_text())
        for choice in case["choices"]:
            assert plain(choice["say"]) in text_of_case and plain(choice["reply"]) in text_of_case


def test_the_table_is_printed_by_whoever_has_not_used_the_helper(page: Page) -> None:
    table = page.locator(".decision-table table")
    assert not table.is_visible()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert table.is_visible()
    assert not page.get_by_role("button", name=CHARGE, exact=True).is_visible()
    page.emulate_media(media="screen")
    choose(page, CHARGE)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not table.is_visible() and page.locator(".decision-result").is_visible()


def test_nothing_moves(page: Page) -> None:
    moving = page.evaluate(
        "[...document.querySelectorAll('.decision-helper *, .decision-case *')].filter(one => {"
        " const s = getComputedStyle(one);"
        " return s.animationName !== 'none' || parseFloat(s.transitionDuration) > 0;"
        "}).map(one => one.outerHTML.slice(0, 80))"
    )
    assert moving == []


def test_script_and_style_are_small_and_on_this_page_only(html: Path) -> None:
    static = [html / "_static" / f"decision-helper.{kind}" for kind in ("js", "css")]
    assert sum(path.stat().st_size for path in static) < HEAVIEST
    text = static[0].read_text("utf-8")
    assert not re.search(r"\bimport\b|\bfetch\(|innerHTML|https?://", text)
    users = {
        path.relative_to(html).as_posix()
        for path in html.rglob("*.html")
        if "decision-helper.js" in path.read_text("utf-8")
    }
    assert users == {PATH}
