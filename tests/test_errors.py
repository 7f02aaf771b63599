"""Errors say what failed and what to do, also in another process."""

from __future__ import annotations

import pickle
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
