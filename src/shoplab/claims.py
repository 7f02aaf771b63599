"""The ledger: what the course claims, what was measured for it, and whether it held.

``claims.yml`` holds every claim. A notebook calls ``claim`` with what it measured for the control
and for the treatment; the pair is judged, recorded as one JSON file, and printed as one sentence.
The book's last page shows the ledger: every claim with its records, or 'not yet shown'.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml

from shoplab.errors import ClaimError

Value = int | float | bool | str
"""What was measured: a count, a time, a yes or no, a word. numpy's numbers are taken as well."""


@dataclass(frozen=True)
class Claim:
    """One claim of the course, as ``claims.yml`` states it."""

    id: str
    section: str
    claim: str
    experiment: str | None = None
    control: str | None = None
    limits: str | None = None


@dataclass(frozen=True)
class Record:
    """What one notebook measured for one claim; ``limits`` names where it stops being true."""

    id: str
    notebook: str
    control: Value
    treatment: Value
    unit: str
    holds: bool
    limits: dict[str, Value]

    def __str__(self) -> str:
        """One sentence: 'some-claim holds: emails lost, control 137, treatment 0.'."""
        verdict = "holds" if self.holds else "does not hold"
        values = f"control {shown(self.control)}, treatment {shown(self.treatment)}"
        return f"{self.id} {verdict}: {self.unit}, {values}."


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: a claim and the records of the notebooks that measured it."""

    claim: Claim
    records: list[Record]

    @property
    def state(self) -> str:
        """'holds', 'does not hold', or 'not yet shown'."""
        if not self.records:
            return "not yet shown"
        return "holds" if all(record.holds for record in self.records) else "does not hold"


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
    holds: Callable[..., bool],
    limits: Mapping[str, Value] | None = None,
    notebook: str,
    directory: Path,
) -> None:
    """Judge a claim by its two values, record the pair in ``directory``, and print the sentence.

    ``holds`` is called as ``holds(control=..., treatment=...)``. ``limits`` names measured values
    that show where the claim stops being true.

    Raises ``ClaimError`` for an id that is not in ``claims.yml``, when the claim does not hold (the
    record is written first), and for a ``holds`` that is true of the control's own value: it would
    also pass with the mechanism removed.
    """
    _known(claim_id)
    control, treatment = _plain(control), _plain(treatment)
    if holds(control=control, treatment=control):
        raise ClaimError(
            f"The assertion of {claim_id} also holds when the treatment gives the control's value "
            f"({shown(control)} {unit}), so it shows nothing.",
            next_step="let `holds` compare the treatment with the control",
        )
    record = Record(
        id=claim_id,
        notebook=notebook,
        control=control,
        treatment=treatment,
        unit=unit,
        holds=bool(holds(control=control, treatment=treatment)),
        limits={name: _plain(value) for name, value in (limits or {}).items()},
    )
    _write(directory / f"{notebook}--{claim_id}.json", asdict(record))
    if not record.holds:
        raise ClaimError(
            str(record), next_step="look at the two runs above: is the mechanism at work?"
        )
    print(record)


def ledger(directory: Path) -> list[Entry]:
    """Every claim in the order of the source document, with the records found in ``directory``."""
    records: dict[str, list[Record]] = {}
    for path in sorted(directory.glob("*--*.json")):
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
        records.setdefault(_known(record.id).id, []).append(record)
    return [Entry(claim, records.get(claim.id, [])) for claim in claims().values()]


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


def _plain(value: Any) -> Value:
    """The JSON value of a measured one; numpy's scalars become Python's."""
    plain = value.item() if hasattr(value, "item") else value
    if not isinstance(plain, int | float | str) or (
        isinstance(plain, float) and not math.isfinite(plain)
    ):
        raise ClaimError(
            f"A claim's value is a finite number, a yes or no, or a word, not {value!r}.",
            next_step="reduce what was measured to one such value",
        )
    return plain


def shown(value: Value) -> str:
    """A measured value for people: 'yes', '10,000', '0.42'."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _write(path: Path, content: Any) -> None:
    """Write JSON in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    half.replace(path)
