"""`make evidence` counts what each round showed, and lists what failed once or nearly did."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from shoplab.claims import claim
from shoplab.errors import ClaimError
from shoplab.evidence import read_evidence
from shoplab.machine import cores
from shoplab.waiting import until
from tools import evidence
from tools.execution import Run


class Rounds:
    """Notebook 03-1, whose claim is measured anew in each round."""

    def __init__(self, *treatments: float) -> None:
        self.treatments = list(treatments)
        self.busy: list[int] = []

    def run_all(self, runs: list[Run], done: Callable[..., None]) -> None:
        (run,) = runs
        others = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
        # a process that has just begun its program has no command line for a moment
        commands = [until(other.cmdline, timeout=10) for other in others]
        self.busy.append(sum(evidence.BUSY in command for command in commands))
        try:
            claim(
                "rd-client-blocks",
                control=10.0,
                treatment=self.treatments.pop(0),
                unit="seconds",
                holds=lambda control, treatment: treatment < control / 2,
                notebook="03-1",
                directory=Path(os.environ["SHOPLAB_LEDGER"]),
            )
        except ClaimError as error:
            run.failure = f"in a cell\n{error.what}\n"


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Rounds], int]:
    def main(rounds: Rounds) -> int:
        monkeypatch.setenv("ROUNDS", str(len(rounds.treatments)))
        monkeypatch.setattr(evidence, "run_all", rounds.run_all)
        return evidence.main()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOPLAB_LEDGER", "set back at the end of the test")
    monkeypatch.setattr(evidence, "notebooks", lambda: [Path("notebooks/03-1-wait.ipynb")])
    Path("book").mkdir()
    return main


def test_it_counts_and_every_other_round_is_on_busy_cores(main: Callable[[Rounds], int]) -> None:
    rounds = Rounds(1.0, 3.0, 2.0)
    assert main(rounds) == 0
    assert rounds.busy == [0, cores(), 0]
    assert not [p for p in psutil.Process().children() if evidence.BUSY in p.cmdline()]
    found = read_evidence(evidence.TARGET)
    assert found is not None and found.rounds == 3
    runs = found.of("rd-client-blocks", "03-1")
    assert runs is not None and str(runs) == "held in 3 of 3 runs"
    assert runs.treatment is not None and runs.control is not None
    assert (runs.treatment.least, runs.treatment.median, runs.treatment.greatest) == (1, 2, 3)
    assert runs.control.median == 10
    assert runs.margin == 0.28


def test_rounds_of_one_notebook_keep_what_is_known_of_the_others(
    main: Callable[[Rounds], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [Path("notebooks/03-1-wait.ipynb"), Path("notebooks/03-3-measure.ipynb")]
    monkeypatch.setattr(evidence, "notebooks", lambda: both)
    entry = {"held": 7, "runs": 7, "control": None, "treatment": None, "margin": None}
    known = {"rd-predictable-latency": {"03-3": entry}, "rd-client-blocks": {"03-1": entry}}
    evidence.TARGET.write_text(json.dumps({"claims": known}), encoding="utf-8")
    monkeypatch.setenv("NOTEBOOKS", "03-1")
    assert main(Rounds(1.0, 2.0)) == 0
    found = read_evidence(evidence.TARGET)
    assert found is not None
    assert str(found.of("rd-predictable-latency", "03-3")) == "held in 7 of 7 runs"
    assert str(found.of("rd-client-blocks", "03-1")) == "held in 2 of 2 runs"


def test_a_failure_and_a_narrow_margin_are_defects(
    main: Callable[[Rounds], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(Rounds(1.0, 6.0, 4.5)) == 1
    said = capsys.readouterr().out
    assert (
        "03-1-wait failed in round 2 of 3, all cores busy: rd-client-blocks does not hold" in said
    )
    assert "rd-client-blocks in 03-1 held by a margin of 0% once" in said
    found = read_evidence(evidence.TARGET)
    assert found is not None and str(found.of("rd-client-blocks", "03-1")) == "held in 2 of 3 runs"


def test_a_notebook_that_leaves_no_record_has_not_held(main: Callable[[Rounds], int]) -> None:
    class Silent(Rounds):
        def run_all(self, runs: list[Run], done: Callable[..., None]) -> None:
            if len(self.treatments) == 2:
                self.treatments.pop(0)
                runs[0].failure = "a cell before the claim failed"
            else:
                super().run_all(runs, done)

    assert main(Silent(1.0, 2.0)) == 1
    found = read_evidence(evidence.TARGET)
    assert found is not None and str(found.of("rd-client-blocks", "03-1")) == "held in 1 of 2 runs"
