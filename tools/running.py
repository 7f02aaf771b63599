"""How many notebooks run at the same time, and which of them run while no other does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import nbformat
import psutil

from shoplab.locks import exclusive, shared
from shoplab.machine import cores
from shoplab.stack.leftovers import runs

PER_CORE = 1.5
"""How many to run for each core: two save hardly any time, and make each late more often."""

GIGABYTES_EACH = 1.5
"""What a notebook takes at most, with its kernel, its processes and a cluster of its own."""

PATIENCE = 3600.0
"""Seconds to wait until nothing else runs."""


def jobs() -> int:
    """How many notebooks to run at the same time: ``JOBS``, or what cores and memory allow."""
    chosen = os.environ.get("JOBS", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    if chosen:
        raise SystemExit(f"JOBS={chosen}: a number from 1 on is needed, such as `make book JOBS=2`")
    room = int(psutil.virtual_memory().available / 1e9 / GIGABYTES_EACH)
    return max(1, min(int(cores() * PER_CORE), room))


@cache
def runs_alone(notebook: Path) -> bool:
    """Whether a notebook measures what others beside it would change: its metadata say so."""
    metadata = nbformat.read(notebook, as_version=4).metadata
    return bool(metadata.get("shoplab", {}).get("alone"))


@contextmanager
def room(folder: Path, *, alone: bool) -> Iterator[None]:
    """Run beside others, or ``alone``: then this waits until nothing else runs, and all else waits.

    Its locks are files in ``folder``. Who waits to be alone keeps the next ones from entering, so
    the wait has an end.
    """
    with ExitStack() as turn:
        turn.enter_context(exclusive(folder / "turn.lock", PATIENCE))
        with (exclusive if alone else shared)(folder / "room.lock", PATIENCE):
            turn.close()
            yield


def end_with_make() -> None:
    """End when the `make` that started this process is gone: SIGKILL reaches make alone."""
    if "MAKELEVEL" not in os.environ:
        return
    parents = psutil.Process().parents()
    make = next((each for each in parents if each.name() in ("make", "gmake")), None)
    if make is None:
        return

    def watch() -> None:
        while runs(make):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
