"""An expected failure counts as a failure: nbval marks cells so once one ran out of time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import CHECKOUT


@pytest.mark.parametrize("body", ["assert False", "pass"], ids=["xfail", "xpass"])
def test_an_expected_failure_is_a_failure(tmp_path: Path, body: str) -> None:
    sample = tmp_path / "test_sample.py"
    sample.write_text(f"import pytest\n\n@pytest.mark.xfail(reason='late')\ndef test(): {body}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", sample],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "not run to its end: late" in done.stdout
