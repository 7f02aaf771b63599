"""Wait for a condition, and tell whoever waits long what for."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

from shoplab.bar import Bar, bar_here
from shoplab.errors import DeadlineError

Value = TypeVar("Value")

PATIENCE = 2.0
"""Seconds after which a wait is announced."""

PACE = 0.5
"""Seconds from one change of what is announced to the next."""

_announcing: ContextVar[bool] = ContextVar("announcing", default=False)


def until(condition: Callable[[], Value], timeout: float = 30.0, *, every: float = 0.02) -> Value:
    """Call ``condition`` every ``every`` seconds until its value is true; return that value.

    What the condition raises is not caught. ``DeadlineError`` after ``timeout`` seconds names the
    condition and its last value.
    """
    what = _in_words(condition)
    deadline = time.monotonic() + timeout
    with announced(f"Waiting for {what} ...", timeout):
        while not (value := condition()):
            if time.monotonic() >= deadline:
                raise DeadlineError(
                    f"After {timeout:g} s this was still {value!r}: {what}",
                    next_step="look at the logs of the processes that should have made it true",
                )
            time.sleep(every)
    return value


@contextmanager
def announced(what: str, timeout: float | None = None) -> Iterator[None]:
    """Show ``what`` and a bar of the time while the block takes longer than ``PATIENCE``.

    ``timeout`` is the limit that the bar runs up to, in seconds, where there is one. A wait within
    a wait shows no bar of its own, and where nobody looks there is none: see ``bar_here``.
    """
    bar = None if _announcing.get() else bar_here()
    if bar is None:
        yield
        return
    over = threading.Event()
    # In this thread's context: else a kernel would show the bar in the cell that runs by then.
    show = threading.Thread(
        target=copy_context().run, args=(_show, bar, what, timeout, over), daemon=True
    )
    mark = _announcing.set(True)
    try:
        show.start()
        yield
    finally:
        _announcing.reset(mark)
        over.set()
        show.join()


def _show(bar: Bar, what: str, limit: float | None, over: threading.Event) -> None:
    """Keep the bar up to date until the wait is over, then remove it."""
    began = time.monotonic()
    of = f" of at most {limit:g} s" if limit else ""
    if over.wait(PATIENCE):
        return
    try:
        while True:
            seconds = time.monotonic() - began
            bar.show(f"{int(seconds)} s{of}: {what}", seconds, limit)
            if over.wait(PACE):
                return
    finally:
        bar.remove()


def _in_words(condition: Callable[[], object]) -> str:
    """A lambda's line of source, or a function's name."""
    name = getattr(condition, "__name__", repr(condition))
    if name != "<lambda>":
        return name
    try:
        return inspect.getsource(condition).strip().splitlines()[0]
    except (OSError, TypeError):
        return "the condition"
