"""Errors say what failed and what to do, also in another process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from shoplab import errors
from shoplab.errors import LabError, ServerError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", [k for k in KINDS if issubclass(k, LabError)])
def test_an_error_survives_pickling(kind: type[LabError], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("last words\n")
    error = kind("It failed.", next_step="try again", log=log)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is kind
    assert str(copy) == str(error) == f"It failed.\nLog: {log}\n  | last words\nNext: try again"


def test_a_log_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    error = ServerError("It failed.", next_step="try again", log=tmp_path / "none")
    assert "(the log cannot be read: No such file or directory)" in str(error)


CELL = """
from shoplab.claims import claims
from shoplab.waiting import until

def paid():
    until(lambda: None, 0.01)

paid()
"""


def test_a_notebook_shows_the_readers_lines_and_the_words_and_none_of_our_frames() -> None:
    shell = f"from IPython import InteractiveShell; InteractiveShell.instance().run_cell({CELL!r})"
    done = subprocess.run([sys.executable, "-c", shell], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-4:] == [
        "line 7: paid()",
        "line 5: until(lambda: None, 0.01)",
        "DeadlineError: After 0.01 s this was still None: until(lambda: None, 0.01)",
        "Next: look at the logs of the processes that should have made it true",
    ]
    assert "waiting.py" not in done.stdout + done.stderr
