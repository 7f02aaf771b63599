"""What tests ask the operating system about a stack's processes."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def supervisors(home: Path) -> list[int]:
    """The PIDs of the supervisors of ``home``, and of those that are just starting."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if "shoplab.stack.supervisor" in line and os.fspath(home) in line:
            found.append(process.pid)
    return found
