"""A lock keeps others out: processes, and threads of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoplab.errors import DeadlineError
from shoplab.locks import exclusive


def test_a_lock_keeps_out_the_second_and_is_free_again_afterwards(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        exclusive(lock, 1),
        pytest.raises(DeadlineError, match=r"held .*lock for 0 s"),
        exclusive(lock, 0.1),
    ):
        pass
    with exclusive(lock, 0.1):
        pass
