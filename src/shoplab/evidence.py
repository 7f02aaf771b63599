"""The evidence: how often each claim was shown when every notebook ran many times.

``make evidence`` leaves it as one file in the checkout, ``book/evidence.json``, and the ledger's
page reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Spread:
    """The least, the middle and the greatest of what the runs measured."""

    least: float
    median: float
    greatest: float


@dataclass(frozen=True)
class Runs:
    """What one notebook's runs showed of one claim.

    ``margin`` is how far the runs stayed from where the claim fails, as a share of that threshold.
    It and the spreads are None for values that are no numbers.
    """

    held: int
    runs: int
    control: Spread | None
    treatment: Spread | None
    margin: float | None

    def __str__(self) -> str:
        return f"held in {self.held} of {self.runs} runs"


@dataclass(frozen=True)
class Evidence:
    """The rounds of one day on one machine; ``claims`` maps a claim's id and a notebook's number
    to what its runs showed.
    """

    date: str
    machine: str
    rounds: int
    claims: dict[str, dict[str, Runs]]

    def of(self, claim_id: str, notebook: str) -> Runs | None:
        """What the runs of a notebook showed of a claim; None where there were none."""
        return self.claims.get(claim_id, {}).get(notebook)


def read_evidence(path: Path) -> Evidence | None:
    """The evidence in a file; None where there is no such file.

    Raises ``KeyError`` where a field is missing: the file is committed, and its reader is a build.
    """
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    claims = {
        claim_id: {number: _runs(fields) for number, fields in notebooks.items()}
        for claim_id, notebooks in content["claims"].items()
    }
    return Evidence(content["date"], content["machine"], content["rounds"], claims)


def _runs(fields: dict[str, Any]) -> Runs:
    return Runs(
        held=fields["held"],
        runs=fields["runs"],
        control=_spread(fields["control"]),
        treatment=_spread(fields["treatment"]),
        margin=fields["margin"],
    )


def _spread(three: list[float] | None) -> Spread | None:
    return None if three is None else Spread(*three)
