"""A lock keeps others out: processes, and threads of one process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shoplab.errors import DeadlineError
from shoplab.locks import exclusive, held


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


def test_whether_a_lock_is_held_can_be_asked(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not held(lock)
    with exclusive(lock, 1):
        assert held(lock)
    assert not held(lock)


def test_a_lock_keeps_threads_of_one_process_apart(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock, 1), ThreadPoolExecutor(1) as pool:
        assert pool.submit(held, lock).result()
