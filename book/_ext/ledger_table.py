"""The ledger as HTML: a summary, a filter that needs no script, and a table for each section.

The filter is a row of radio buttons that the style sheet looks at. Where it cannot, they are gone
and every claim is there. Two values are two bars, each beside its number, so that nothing is said
by length or colour alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from html import escape

from shoplab.claims import Entry, Record
from shoplab.digits import Value, told
from shoplab.evidence import Evidence
from shoplab.verdicts import Verdict

NOT_SHOWN = "not yet shown"
"""What stands where a verdict would."""

Link = Callable[[str], str]
"""From a notebook's number to a link to its page, as HTML."""


def summary(entries: list[Entry], evidence: Evidence | None, data: str) -> str:
    """How many claims are shown, what they and their evidence were measured on, a link to data."""
    records = [record for entry in entries for record in entry.records]
    shown = sum(bool(entry.records) for entry in entries)
    lines = [f"Shown in this build: {shown} of {len(entries)} claims."]
    if records:
        lines.append(f"Measured {days(records)}: {machines(records)}.")
    if evidence is not None:
        lines.append(f"Evidence {evidence.date}, {evidence.rounds} rounds: {evidence.machine}.")
    link = f'<a href="{data}">The same as data</a>.'
    return f"<p>{escape(' '.join(lines))} {link}</p>"


def measured_on(entries: list[Entry], evidence: Evidence | None) -> str:
    """When, on what machine and with which servers this build and its evidence were measured."""
    records = [record for entry in entries for record in entry.records]
    rows = [("This build", "It has run no notebook, so it has no numbers.")]
    if records:
        servers = {name for record in records for name in record.measured_on["servers"]}
        rows = [("This build", f"{days(records)}, {machines(records)}")]
        rows.append(("Its servers", "; ".join(sorted(servers))))
    if evidence is not None:
        when = f"{evidence.date}, {evidence.rounds} rounds, {evidence.machine}"
        rows.append(("Its evidence", when))
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{escape(text)}</dd>' for name, text in rows)}</dl>"


def days(records: list[Record]) -> str:
    """The day of the records, or the first and the last."""
    days = sorted(record.measured_on["at"][:10] for record in records)
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def machines(records: list[Record]) -> str:
    """What the records were measured on."""
    return "; ".join(sorted({record.measured_on["machine"] for record in records}))


def filters(entries: list[Entry]) -> str:
    """A radio button for each verdict that there is, with the number of its claims."""
    counts = Counter(entry.verdict for entry in entries)
    choices = [("all", "all", len(entries))]
    choices += [
        (_slug(verdict), str(verdict or NOT_SHOWN), counts[verdict])
        for verdict in (*Verdict, None)
        if counts[verdict]
    ]
    buttons = (
        f'<label><input type="radio" name="ledger-verdict" value="{slug}"'
        f"{' checked' * (slug == 'all')}> {words} ({count})</label>"
        for slug, words, count in choices
    )
    legend = "<legend>Claims by verdict</legend>"
    return f'<fieldset class="ledger-filter">{legend}{"".join(buttons)}</fieldset>'


def contents(sections: dict[str, tuple[str, list[Entry]]]) -> str:
    """A link to each section, with the number of its claims that are shown."""
    items = (
        f'<li><a href="#{anchor}">{escape(title)}</a> '
        f"({sum(bool(entry.records) for entry in entries)} of {len(entries)})</li>"
        for anchor, (title, entries) in sections.items()
    )
    return f'<ul class="ledger-contents">{"".join(items)}</ul>'


def table(entries: list[Entry], evidence: Evidence | None, link: Link) -> str:
    """The claims of a section: those that are shown in a table, then the others in a list."""
    shown = [entry for entry in entries if entry.records]
    others = [entry for entry in entries if not entry.records]
    html = ""
    if shown:
        columns = ["Claim", "Verdict", "Measured", *(["Evidence"] if evidence else [])]
        head = "".join(f'<th scope="col">{column}</th>' for column in columns)
        bodies = "".join(_body(entry, evidence, link) for entry in shown)
        html += f'<table class="ledger"><thead><tr>{head}</tr></thead>{bodies}</table>'
    if others:
        items = "".join(
            f'<li id="claim-{entry.claim.id}">{escape(entry.claim.claim)}</li>' for entry in others
        )
        html += f'<div class="ledger-rest" data-verdict="{_slug(None)}"><p>Not yet shown:</p>'
        html += f"<ul>{items}</ul></div>"
    return html


def _slug(verdict: Verdict | None) -> str:
    return verdict.name.lower() if verdict else "none"


def _body(entry: Entry, evidence: Evidence | None, link: Link) -> str:
    """A claim with its verdict, and a row for each notebook that measured it."""
    span = f' rowspan="{len(entry.records)}"' if len(entry.records) > 1 else ""
    first = (
        f'<th scope="row"{span}>{escape(entry.claim.claim)}</th><td{span}>{_verdict(entry)}</td>'
    )
    rows = []
    for record in entry.records:
        cells = f"<td>{_measured(record, link)}</td>"
        if evidence is not None:
            cells += f"<td>{evidence.of(record.id, record.notebook) or ''}</td>"
        rows.append(f"<tr>{first}{cells}</tr>")
        first = ""
    return (
        f'<tbody id="claim-{entry.claim.id}" data-verdict="{_slug(entry.verdict)}">'
        f"{''.join(rows)}</tbody>"
    )


def _verdict(entry: Entry) -> str:
    """The verdict, and the words that it needs."""
    claim, verdict = entry.claim, entry.verdict
    words = {
        Verdict.DECIDED: f"What decides: {claim.decider}.",
        Verdict.CORRECTED: f"Corrected: {claim.corrected}",
        Verdict.FAILED: "The last run did not show it.",
    }
    note = words.get(verdict) if verdict else None
    if verdict is Verdict.HOLDS and claim.decider:
        note = f"What may decide instead: {claim.decider}. That run is {NOT_SHOWN}."
    badge = f'<span class="verdict {_slug(verdict)}">{verdict}</span>'
    return badge + (f"<p>{escape(note)}</p>" if note else "")


def _measured(record: Record, link: Link) -> str:
    """The values as bars, with their unit; the notebook; its limits and where it ran."""
    unit, bars = told(record.unit, *(values := dict(_values(record))).values())
    greatest = max((_length(value) for value in values.values()), default=0)
    lines = "".join(
        f'<div class="{name.split()[0]}"><dt>{name}</dt>'
        f'<dd style="--share: {_length(value) / greatest if greatest else 0:.3f}">'
        f"{escape(words)}</dd></div>"
        for (name, value), words in zip(values.items(), bars, strict=True)
    )
    more = "".join(f"<p>{escape(line)}</p>" for line in _more(record))
    return (
        f'<p class="unit">{escape(unit)}</p><dl>{lines}</dl><p>{link(record.notebook)}</p>'
        f"<details><summary>Limits, date and machine</summary>{more}</details>"
    )


def _values(record: Record) -> Iterator[tuple[str, Value]]:
    """What is drawn: control and treatment, and what the verdict adds to them."""
    if record.decided_by is not None:
        yield "control without it", record.control
        yield "treatment without it", record.decided_by["treatment_without_it"]
        yield "control with it", record.decided_by["control_with_it"]
        yield "treatment with it", record.treatment
        return
    yield "control", record.control
    yield "treatment", record.treatment
    if record.corrected is not None:
        yield "as said", record.corrected["as_said"]


def _length(value: Value) -> float:
    """The length of a bar before it is scaled: none for a word, and none for less than nothing."""
    return 0.0 if isinstance(value, bool | str) else max(0.0, float(value))


def _more(record: Record) -> Iterable[str]:
    for name, value in record.limits.items():
        unit, (words,) = told(name, value)
        yield f"Where it ends: {unit} {words}."
    at = record.measured_on["at"].replace("T", " ").replace("+00:00", " UTC")
    yield f"Measured {at}: {record.measured_on['machine']}."
    if record.measured_on["servers"]:
        yield f"Servers: {', '.join(record.measured_on['servers'])}."
