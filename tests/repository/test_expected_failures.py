"""An expected failure counts as a failure: nbval marks cells so once one ran out of time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from checkout import CHECKOUT

SAMPLE = """
import pytest
pytestmark = pytest.mark.xfail(reason="late")

def test_that_fails():
    assert False

def test_that_passes_after_all():
    pass
"""


def test_an_expected_failure_is_a_failure_and_so_is_its_success(tmp_path: Path) -> None:
    sample = tmp_path / "test_sample.py"
    sample.write_text(SAMPLE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", sample],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "2 failed" in done.stdout
    assert "not run to its end: late" in done.stdout
