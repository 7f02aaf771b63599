"""Halt a process and let it go on: what a long pause of its machine does, and returns when so."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from shoplab.waiting import until

DEADLINE = 10.0
"""Seconds within which a process stands still, or moves again."""


def halt(pid: int) -> set[psutil.Process]:
    """Halt a process with all that it has started; return them when every thread stands still.

    On a busy machine threads work on for a while after the signal. ``psutil.NoSuchProcess`` where
    there is no such process, ``DeadlineError`` where it does not stand still in time.
    """
    halted: set[psutil.Process] = set()

    def all_stand_still() -> bool:
        for process in _family(pid) - halted:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
            halted.add(process)
        # looked up again, for what was started before the signal came
        return _family(pid) <= halted and not any(map(_moves, halted))

    until(all_stand_still, DEADLINE)
    return halted


def resume(halted: Iterable[psutil.Process]) -> None:
    """Let processes go on; return when they do. What has ended meanwhile is passed over."""
    for process in halted:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)
    until(lambda: not any(process.is_running() and "T" in _states(process) for process in halted))


def _family(pid: int) -> set[psutil.Process]:
    parent = psutil.Process(pid)
    return {parent, *parent.children(recursive=True)}


def _moves(process: psutil.Process) -> bool:
    """Whether a thread of it is neither stopped (T; t by a debugger) nor at its end (X, Z)."""
    return not _states(process) <= set("TtXZ")


def _states(process: psutil.Process) -> set[str]:
    """The states of its threads as Linux writes them; elsewhere the process's own alone."""
    states = set()
    try:
        if not psutil.LINUX:
            return {"T" if process.status() == psutil.STATUS_STOPPED else "R"}
        for thread in Path(f"/proc/{process.pid}/task").glob("*/stat"):
            with suppress(OSError):  # this thread has ended
                states.add(thread.read_text(errors="replace").rpartition(")")[2].split()[0])
    except psutil.NoSuchProcess:
        pass
    return states
