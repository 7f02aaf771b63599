"""What a measurement was made on, in words that name no computer and no person."""

from __future__ import annotations

import os
import platform


def machine() -> str:
    """The kind of machine: '2 cores, Linux x86_64, Python 3.11.7'."""
    count = _cores()
    cores = f"{count} core" + "s" * (count != 1)
    python = platform.python_version()
    return f"{cores}, {platform.system()} {platform.machine()}, Python {python}"


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
