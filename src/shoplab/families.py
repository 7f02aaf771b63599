"""A process with all that it has started: halted, let go on, ended; each returns when it is so."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import psutil

from shoplab.waiting import until

DEADLINE = 10.0
"""Seconds within which all stand still, move again, or have ended."""

ENDED = set("XZ")
"""States of threads that are at their end, as Linux writes them."""

STILL = ENDED | set("Tt")
"""The same, and those that are stopped, also by a debugger."""

Family = set[psutil.Process]


def family(pid: int) -> Family:
    """The process and all that it has started; empty where there is no such process."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return {parent, *parent.children(recursive=True)}
    return set()


def halt(pid: int) -> Family:
    """Halt a family, as a long pause of its machine would; return it when all threads stand still.

    On a busy machine threads work on for a while after the signal. ``DeadlineError`` where they do
    not stand still in time; an empty family where there is no such process.
    """
    halted: Family = set()

    def all_stand_still() -> bool:
        moving = family(pid) - halted
        _signal(moving, signal.SIGSTOP)
        halted.update(moving)
        # looked up again, for what was started before the signal came
        return family(pid) <= halted and all(_states(process) <= STILL for process in halted)

    until(all_stand_still, DEADLINE)
    return halted


def resume(halted: Family) -> None:
    """Let processes go on. What has ended in the meantime is passed over."""
    _signal(halted, signal.SIGCONT)

    def all_go_on() -> bool:
        return not any("T" in _states(process) for process in halted)

    until(all_go_on, DEADLINE)


def is_halted(pid: int) -> bool:
    """Whether no thread of a process runs, whoever has halted it; its children do not count."""
    try:
        states = _states(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
    return "T" in states and states <= STILL


def end(processes: Family) -> None:
    """End processes by SIGKILL. A zombie has ended; where nobody reaps orphans it stays."""
    _signal(processes, signal.SIGKILL)

    def all_have_ended() -> bool:
        return all(_states(process) <= ENDED for process in processes)

    until(all_have_ended, DEADLINE)


def _signal(processes: Family, number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _states(process: psutil.Process) -> set[str]:
    """The states of its threads; where the system does not tell, its own; none if it is gone."""
    if not process.is_running():
        return set()
    if not psutil.LINUX:
        words = {psutil.STATUS_STOPPED: "T", psutil.STATUS_ZOMBIE: "Z"}
        with suppress(psutil.NoSuchProcess):
            return {words.get(process.status(), "R")}
    states = set()
    for thread in Path(f"/proc/{process.pid}/task").glob("*/stat"):
        with suppress(OSError):  # this thread has ended
            states.add(thread.read_text(errors="replace").rpartition(")")[2].split()[0])
    return states
