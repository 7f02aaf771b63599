"""The template notebook is an experiment that runs, and a copy of it is clean from the start."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from checkout import CHECKOUT

from tools import notebooks

TEMPLATE = CHECKOUT / "tools" / "00-0-template.ipynb"


def test_the_template_is_clean() -> None:
    assert list(notebooks.problems(TEMPLATE)) == []


def test_a_copy_with_a_number_of_its_own_is_clean(tmp_path: Path) -> None:
    copy = tmp_path / "04-11-do-something.ipynb"
    copy.write_text(
        TEMPLATE.read_text(encoding="utf-8").replace('Lab(\\"00-0\\"', 'Lab(\\"04-11\\"')
    )
    assert list(notebooks.problems(copy)) == []


@pytest.mark.server
def test_the_template_shows_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPLAB_LEDGER", str(tmp_path))
    stored = nbformat.read(TEMPLATE, as_version=4)
    run = nbformat.reads(notebooks.normalised(notebooks.executed(TEMPLATE)), as_version=4)
    assert [cell.outputs for cell in run.cells if "outputs" in cell] == [
        cell.outputs for cell in stored.cells if "outputs" in cell
    ]
    record = json.loads((tmp_path / "00-0--pick-long-running.json").read_text())
    assert record["verdict"] == "holds"
