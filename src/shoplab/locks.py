"""One holder at a time, of whatever a file stands for."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shoplab.errors import DeadlineError


@contextmanager
def exclusive(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock ``path``, which the operating system frees however its holder dies.

    ``flock`` and not ``lockf``: it also keeps two threads of one process apart.
    ``DeadlineError`` if another holds it for ``timeout`` seconds.
    """
    with path.open("a") as file:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DeadlineError(
                        f"Another process has held {path} for {timeout:.0f} s.",
                        next_step="run `shoplab status`, then `shoplab down`, and try again",
                    ) from None
                time.sleep(0.02)
        yield


def held(path: Path) -> bool:
    """Whether somebody holds the lock ``path`` now."""
    try:
        with exclusive(path, 0):
            return False
    except DeadlineError:
        return True
