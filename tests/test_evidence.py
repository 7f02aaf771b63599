"""What many rounds showed is read from one file, and a file that is not there is no error."""

import json
from pathlib import Path

import pytest

from shoplab.evidence import Runs, Spread, read_evidence

CONTENT = {
    "date": "2026-11-26",
    "machine": "2 cores, Linux x86_64, Python 3.11",
    "rounds": 20,
    "claims": {
        "rd-cascade": {
            "03-5": {
                "held": 19,
                "runs": 20,
                "control": [0.9, 1, 1],
                "treatment": [0.07, 0.1, 0.2],
                "margin": 0.43,
            }
        },
        "ed-broker-kinds": {
            "04-10": {"held": 20, "runs": 20, "control": None, "treatment": None, "margin": None}
        },
    },
}


def test_the_runs_of_a_claim_are_found_by_its_notebook(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(CONTENT))
    evidence = read_evidence(path)
    assert evidence is not None
    assert (evidence.date, evidence.rounds) == ("2026-11-26", 20)
    runs = evidence.of("rd-cascade", "03-5")
    assert runs == Runs(19, 20, Spread(0.9, 1, 1), Spread(0.07, 0.1, 0.2), 0.43)
    assert str(runs) == "held in 19 of 20 runs"
    assert evidence.of("ed-broker-kinds", "04-10") == Runs(20, 20, None, None, None)
    assert evidence.of("rd-cascade", "03-6") is None
    assert evidence.of("rd-unheard-of", "03-5") is None


def test_without_a_file_there_is_no_evidence(tmp_path: Path) -> None:
    assert read_evidence(tmp_path / "evidence.json") is None


def test_a_file_of_another_form_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(CONTENT | {"claims": {"rd-cascade": {"03-5": {"held": 3}}}}))
    with pytest.raises(KeyError, match="runs"):
        read_evidence(path)
