"""What a killed supervisor leaves running, and how the next one clears it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from shoplab.servers.server import MARK


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
    found = len(processes)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it went by itself
                end(process)
        processes = _still_running(processes, patience)
    return found


def _still_running(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Those that run on when all have ended, or the time is up.

    A zombie has ended. In a container it may stay for good, where nobody reaps orphans.
    """
    deadline = time.monotonic() + timeout
    while processes and time.monotonic() < deadline:
        time.sleep(0.02)
        processes = [process for process in processes if runs(process)]
    return processes


def runs(process: psutil.Process) -> bool:
    """Whether a process has not ended; a zombie has, where its parent never asks."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
