"""Run every notebook many times, and keep how often each claim held and how safely.

    make evidence ROUNDS=20
    make evidence NOTEBOOKS="03-3 05-1"

In every other round all cores are busy with something else. The result is `book/evidence.json`,
which the ledger's page shows. With ``NOTEBOOKS`` it runs only those, and the file keeps what it has
of the others: a changed notebook needs no new rounds of all. Exit status 1 where a notebook failed
once, or where a claim held by a narrow margin.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shoplab.claims import Record
from shoplab.digits import Value
from shoplab.machine import cores, machine
from shoplab.paths import FOR_ALL, write_whole
from shoplab.verdicts import Verdict
from tools.book import notebooks
from tools.execution import BUILD, Run, run_all
from tools.running import end_with_make

TARGET = Path("book", "evidence.json")
NARROW = 0.2
"""A claim whose margin is smaller may fail in the next run."""

BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
"""A program that keeps one core busy until whoever started it has ended."""


@dataclass
class Found:
    """What the rounds have shown so far."""

    records: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, round_name: str, runs: Sequence[Run], folder: Path) -> None:
        """Take in what a round left in its ``folder``."""
        self.failures += [
            f"{run.path.stem} failed in {round_name}: {run.failure.strip().splitlines()[-1]}"
            for run in runs
            if run.failure
        ]
        for path in sorted(folder.glob("*--*.json")):
            record = Record.read(json.loads(path.read_text(encoding="utf-8")))
            assert record is not None  # a run of this very checkout has written it
            self.records.setdefault((record.id, record.notebook), []).append(record)

    def claims(self, rounds: int) -> dict[str, dict[str, dict[str, Any]]]:
        """By claim and notebook, as ``shoplab.evidence`` reads it."""
        result: dict[str, dict[str, dict[str, Any]]] = {}
        for (claim_id, notebook), records in sorted(self.records.items()):
            margins = [record.margin for record in records if record.margin is not None]
            result.setdefault(claim_id, {})[notebook] = {
                "held": sum(record.verdict != Verdict.FAILED for record in records),
                "runs": rounds,
                "control": spread([record.control for record in records]),
                "treatment": spread([record.treatment for record in records]),
                "margin": min(margins, default=None),
            }
        return result

    def defects(self) -> Iterator[str]:
        """What has to be repaired, a line each."""
        yield from self.failures
        for (claim_id, notebook), records in sorted(self.records.items()):
            margin = min((r.margin for r in records if r.margin is not None), default=1.0)
            if margin < NARROW:
                yield f"{claim_id} in {notebook} held by a margin of {margin:.0%} once"


def main() -> int:
    """Run the rounds and write the file; return the exit status."""
    rounds = int(os.environ.get("ROUNDS", "20"))
    chosen = tuple(f"{number}-" for number in os.environ.get("NOTEBOOKS", "").split())
    paths = [path for path in notebooks() if not chosen or path.name.startswith(chosen)]
    end_with_make()
    found = Found()
    for number in range(1, rounds + 1):
        busy = number % 2 == 0
        name = f"round {number} of {rounds}{', all cores busy' if busy else ''}"
        folder = BUILD / "evidence" / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        os.environ["SHOPLAB_LEDGER"] = str(folder.absolute())
        runs = [Run(path) for path in paths]
        print(f"== {name}", flush=True)
        with all_cores_busy() if busy else nullcontext():
            run_all(runs, lambda run, notebook: None)
        found.add(name, runs, folder)
        for run in runs:
            print(run, flush=True)
            if run.failure:
                print(run.failure, flush=True)
    claims = found.claims(rounds)
    if chosen and TARGET.exists():
        for claim_id, runs_of in json.loads(TARGET.read_text(encoding="utf-8"))["claims"].items():
            claims[claim_id] = runs_of | claims.get(claim_id, {})
    content = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "rounds": rounds,
        "claims": dict(sorted(claims.items())),
    }
    write_whole(TARGET, json.dumps(content, indent=1) + "\n", mode=FOR_ALL)
    defects = list(found.defects())
    print(f"\n{TARGET} has the result of {rounds} rounds.", *defects, sep="\n")
    return 1 if defects else 0


def spread(values: Sequence[Value]) -> list[float] | None:
    """The least, the middle and the greatest; None where the values are no numbers."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not numbers:
        return None
    return [min(numbers), statistics.median(numbers), max(numbers)]


@contextmanager
def all_cores_busy() -> Iterator[None]:
    """Keep every core busy, as on a machine that has other work."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(cores())]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    sys.exit(main())
