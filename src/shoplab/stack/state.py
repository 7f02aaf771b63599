"""What a supervisor leaves on disk, and how the next one clears what a killed one left behind."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from shoplab.errors import DeadlineError
from shoplab.stack.server import MARK

VERSION = 2
"""Of the state file and of the conversation on the socket; another version is not understood."""


def write_state(home: Path, state: dict[str, Any]) -> None:
    """Replace the state file, all or nothing, readable by its owner only (0600)."""
    unfinished = home / "state.json.new"
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        json.dump({"version": VERSION, **state}, file, indent=1)
    unfinished.replace(home / "state.json")


def read_state(home: Path) -> dict[str, Any] | None:
    """The state that was left; None if there is none, or it is damaged, or of another version.

    It informs people. What is ended is decided by ``left_behind``, from the processes themselves.
    """
    try:
        state = json.loads((home / "state.json").read_text())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and state.get("version") == VERSION else None


def left_behind(home: Path) -> list[psutil.Process]:
    """The servers that carry the mark of this home, whatever any file says.

    A PID in a file may belong to somebody else by now. The mark is read from the process itself,
    and psutil ties it to the creation time: a PID that changes hands later is not signalled.
    """
    marked = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home) and process.pid != os.getpid():
                marked.append(process)
        except (psutil.Error, OSError):
            continue  # gone, or another user's: not ours
    return marked


def sweep(home: Path, patience: float = 3.0) -> int:
    """End the servers that a killed supervisor left; returns how many. Needs the home's lock.

    They get a polite signal and SIGKILL after ``patience`` seconds.
    """
    processes = left_behind(home)
    for process in processes:
        _signal(process, kill=False)
    for process in _still_running(processes, patience):
        _signal(process, kill=True)
    _still_running(processes, patience)
    return len(processes)


def _still_running(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Those that run on when all have ended, or the time is up.

    A zombie has ended. In a container it may stay for good, where nobody reaps orphans.
    """
    deadline = time.monotonic() + timeout
    while processes and time.monotonic() < deadline:
        time.sleep(0.02)
        processes = [process for process in processes if _runs(process)]
    return processes


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, kill: bool) -> None:
    with suppress(psutil.NoSuchProcess):  # it went by itself
        process.kill() if kill else process.terminate()


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
