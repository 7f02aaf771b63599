"""Wait for a condition, and tell whoever waits long what for."""

from __future__ import annotations

import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from shoplab.errors import DeadlineError

Value = TypeVar("Value")

PATIENCE = 2.0
"""Seconds after which a wait is announced."""


def until(condition: Callable[[], Value], timeout: float = 10.0, *, every: float = 0.02) -> Value:
    """Call ``condition`` every ``every`` seconds until its value is true; return that value.

    What the condition raises is not caught. ``DeadlineError`` after ``timeout`` seconds names the
    condition and its last value.
    """
    what = _in_words(condition)
    deadline = time.monotonic() + timeout
    with announced(f"Waiting up to {timeout:g} s for {what} ..."):
        while not (value := condition()):
            if time.monotonic() >= deadline:
                raise DeadlineError(
                    f"After {timeout:g} s this was still {value!r}: {what}",
                    next_step="look at the logs of the processes that should have made it true",
                )
            time.sleep(every)
    return value


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Print ``what`` to standard error, once, if the block takes longer than ``PATIENCE``.

    ``SHOPLAB_PROGRESS=off`` keeps it silent, for runs whose outputs are compared or published.
    """
    timer = threading.Timer(PATIENCE, print, [what], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    if os.environ.get("SHOPLAB_PROGRESS") != "off":
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _in_words(condition: Callable[[], object]) -> str:
    """A lambda's line of source, or a function's name."""
    name = getattr(condition, "__name__", repr(condition))
    if name != "<lambda>":
        return name
    try:
        return inspect.getsource(condition).strip().splitlines()[0]
    except (OSError, TypeError):
        return "the condition"
