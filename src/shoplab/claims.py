"""The ledger: what the course claims, what was measured for it, and the verdict.

``claims.yml`` holds every claim. A notebook calls ``claim`` with what it measured for the control
and for the treatment; the pair is judged, recorded as one JSON file, and printed as one sentence.
The book's last page shows the ledger: every claim with its records, or 'not yet shown'.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml

from shoplab.digits import Value, told
from shoplab.errors import ClaimError
from shoplab.machine import machine
from shoplab.paths import FOR_ALL, write_whole
from shoplab.verdicts import Condition, Correction, Decider, Pair, Verdict, margin, not_shown, plain

SECTIONS = {
    "which-to-pick": "Which should you pick?",
    "request-driven": "Request-driven architecture",
    "event-driven": "Event-driven architecture",
    "hybrids": "Hybrid architectures",
    "saga": "The saga pattern",
    "comparison": "Side-by-side comparison",
    "implementation": "Practical implementation",
    "beyond": "Beyond the document",
}
"""The sections of ``claims.yml`` in its order, with their titles."""

BEYOND = "beyond"
"""The section of what the document does not say."""

WIDTH = 88
"""Characters in a line of what is printed of a claim."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """One claim of the course, as ``claims.yml`` states it."""

    id: str
    section: str
    claim: str
    experiment: str | None = None
    control: str | None = None
    limits: str | None = None
    decided_by: str | None = None
    corrected: str | None = None

    @property
    def decider(self) -> str | None:
        """The name of what decides, without the runs that show it."""
        return self.decided_by and self.decided_by.partition(";")[0]


@dataclass(frozen=True)
class Record:
    """What one notebook measured for one claim; ``limits`` names where it stops being true.

    ``decided_by`` and ``corrected`` belong to two of the verdicts: the values of the two further
    runs, and the value that the claim as said would have given. ``margin`` says how safely the
    claim held: see ``verdicts.margin``. ``measured_on`` says when (UTC), on what kind of machine,
    and with which local servers.
    """

    id: str
    notebook: str
    control: Value
    treatment: Value
    unit: str
    verdict: Verdict
    limits: dict[str, Value]
    decided_by: dict[str, Value] | None
    corrected: dict[str, Value] | None
    margin: float | None
    measured_on: dict[str, Any]

    @classmethod
    def read(cls, content: dict[str, Any]) -> Record | None:
        """The record in a JSON object; None for one that another version of the course left."""
        if content.keys() != {field.name for field in fields(cls)}:
            return None
        return cls(**content | {"verdict": Verdict(content["verdict"])})

    def __str__(self) -> str:
        """One sentence: 'some-claim holds: emails lost, control 137, treatment 0.'."""
        return self.sentence(self.verdict)

    def sentence(self, verdict: str) -> str:
        """What was measured in one sentence, after ``verdict`` in these words."""
        others = (self.decided_by or {}) | (self.corrected or {})
        values = {"control": self.control, "treatment": self.treatment} | others
        unit, told_values = told(self.unit, *values.values())
        listed = ", ".join(
            f"{name.replace('_', ' ')} {value}"
            for name, value in zip(values, told_values, strict=True)
        )
        # 'control 0, treatment 7 of 20 orders failed': such a unit comes after the numbers.
        said = f"{listed} {unit}" if unit.startswith("of ") else f"{unit}, {listed}"
        return f"{self.id} {verdict}: {said}."


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: a claim and the records of the notebooks that measured it."""

    claim: Claim
    records: list[Record]

    @property
    def verdict(self) -> Verdict | None:
        """The worst of what the records say; None where there is none."""
        found = {record.verdict for record in self.records}
        return max(found, key=list(Verdict).index, default=None)


@cache
def claims() -> dict[str, Claim]:
    """Every claim by its id, in the order of the source document."""
    text = resources.files("shoplab").joinpath("claims.yml").read_text(encoding="utf-8")
    return {entry["id"]: Claim(**entry) for entry in yaml.safe_load(text)}


def claim(
    claim_id: str,
    *,
    control: Value,
    treatment: Value,
    unit: str,
    holds: Condition,
    limits: Mapping[str, Value] | None = None,
    decided_by: Decider | None = None,
    corrected: Correction | None = None,
    notebook: str,
    directory: Path,
    servers: Iterable[str] = (),
) -> None:
    """Judge a claim by its two values, record the pair in ``directory``, and print the sentence.

    ``holds`` is called as ``holds(control=..., treatment=...)``. ``limits`` names measured values
    that show where the claim stops being true. With ``decided_by`` the verdict is that the claim
    holds, but something else decides; with ``corrected``, that it does not hold as said. What
    decides, and the corrected sentence, stand in ``claims.yml``.

    Raises ``ClaimError`` for an id that is not in ``claims.yml``, when what was measured does not
    show the verdict (the record is written first), and for a condition that shows nothing: a
    ``holds`` that is true of the control's own value would also pass with the mechanism removed.
    """
    known = _known(claim_id)
    verdict = _verdict(known, decided_by, corrected)
    pair = Pair(claim_id, unit, plain(control), plain(treatment))
    failure = not_shown(pair, holds, decided_by, corrected)
    record = Record(
        id=claim_id,
        notebook=notebook,
        control=pair.control,
        treatment=pair.treatment,
        unit=unit,
        verdict=Verdict.FAILED if failure else verdict,
        limits={name: plain(value) for name, value in (limits or {}).items()},
        decided_by=decided_by.values() if decided_by else None,
        corrected=corrected.values() if corrected else None,
        margin=None if corrected else margin(pair, holds),
        measured_on={
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "servers": list(servers),
        },
    )
    _write(directory / f"{notebook}--{claim_id}.json", asdict(record))
    if failure:
        raise ClaimError(
            record.sentence(failure),
            next_step="look at the runs above: is the mechanism at work?",
        )
    _say(str(record))
    if verdict is Verdict.DECIDED:
        _say(f"What decides: {known.decider}.")
    if verdict is Verdict.CORRECTED:
        _say(f"Corrected: {known.corrected}")


def _say(sentence: str) -> None:
    """Print it in lines that fit: JupyterLab breaks a longer one in the middle of words."""
    print(textwrap.fill(sentence, WIDTH, break_long_words=False, break_on_hyphens=False))


def _verdict(known: Claim, decided_by: Decider | None, corrected: Correction | None) -> Verdict:
    """The verdict that a notebook asserts; ``ClaimError`` where ``claims.yml`` lacks its words."""
    if decided_by is not None and corrected is not None:
        raise ClaimError(
            f"{known.id} is given two verdicts.", next_step="give `decided_by` or `corrected`"
        )
    if decided_by is not None and known.decided_by is None:
        raise _without_words(known, "decided_by")
    if corrected is not None and known.corrected is None:
        raise _without_words(known, "corrected")
    if decided_by is not None:
        return Verdict.DECIDED
    return Verdict.HOLDS if corrected is None else Verdict.CORRECTED


def _without_words(known: Claim, field: str) -> ClaimError:
    return ClaimError(
        f"In claims.yml {known.id} has no line `{field}:`, which the ledger would show.",
        next_step="add it there",
    )


def ledger(directory: Path) -> list[Entry]:
    """Every claim in the order of the source document, with the records found in ``directory``.

    Those of the section ``beyond``, which the document does not make, are there once they have a
    record. A record that another version of the course left is left out, and a warning says so.
    """
    records: dict[str, list[Record]] = {}
    for path in sorted(directory.glob("*--*.json")):
        record = Record.read(json.loads(path.read_text(encoding="utf-8")))
        if record is None:
            _log.warning("%s is left out: another version of the course left it.", path.name)
        else:
            records.setdefault(_known(record.id).id, []).append(record)
    return [
        Entry(claim, records.get(claim.id, []))
        for claim in claims().values()
        if claim.id in records or claim.section != BEYOND
    ]


def write_ledger(directory: Path, target: Path) -> None:
    """Merge the records in ``directory`` into one JSON list of objects at ``target``."""
    _write(target, [asdict(record) for entry in ledger(directory) for record in entry.records])


def ledger_directory(fallback: Path) -> Path:
    """Where records go: ``SHOPLAB_LEDGER``, the project's ``_build/ledger``, or ``fallback``.

    The project is the nearest folder above the current one that holds ``_toc.yml``. A project that
    is not the user's to write (one checkout for a whole class, say) keeps no records of theirs.
    """
    chosen = os.environ.get("SHOPLAB_LEDGER")
    if chosen:
        return Path(chosen)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").is_file():
            ledger = folder / "_build" / "ledger"
            return ledger if _can_be_written(ledger) else fallback
    return fallback


def _can_be_written(directory: Path) -> bool:
    """Whether files can be made in ``directory``; it is made where it is not there yet."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _known(claim_id: str) -> Claim:
    if claim_id not in claims():
        near = difflib.get_close_matches(claim_id, claims(), n=3, cutoff=0.4)
        hint = f"use one of its ids, such as {', '.join(near)}" if near else "add it there first"
        raise ClaimError(f"No claim in claims.yml has the id {claim_id!r}.", next_step=hint)
    return claims()[claim_id]


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, text, mode=FOR_ALL)
