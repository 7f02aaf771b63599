"""One holder at a time, or many that share, of whatever a file stands for."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from shoplab.errors import DeadlineError


def exclusive(path: Path, timeout: float) -> AbstractContextManager[IO[str]]:
    """Hold the lock ``path`` alone. The operating system frees it however its holder dies.

    A process that inherits the open file holds the lock as well, until it closes it.
    ``DeadlineError`` if others hold it for ``timeout`` seconds.
    """
    return _hold(path, timeout, fcntl.LOCK_EX)


def shared(path: Path, timeout: float) -> AbstractContextManager[IO[str]]:
    """Hold the lock ``path`` together with whoever shares it too.

    ``DeadlineError`` if another holds it alone for ``timeout`` seconds.
    """
    return _hold(path, timeout, fcntl.LOCK_SH)


@contextmanager
def _hold(path: Path, timeout: float, kind: int) -> Iterator[IO[str]]:
    # flock and not lockf: it also keeps two threads of one process apart
    with path.open("a") as file:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DeadlineError(
                        f"Another process has held {path} for {timeout:.0f} s.",
                        next_step="run `shoplab status`, then `shoplab down`, and try again",
                    ) from None
                time.sleep(0.02)
        yield file  # closed and not unlocked: see `exclusive`


def held(path: Path) -> bool:
    """Whether somebody holds the lock ``path`` now."""
    try:
        with exclusive(path, 0):
            return False
    except DeadlineError:
        return True
