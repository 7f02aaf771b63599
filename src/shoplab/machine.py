"""What a measurement was made on, in words that name no computer and no person."""

from __future__ import annotations

import os
import platform

import psutil


def machine() -> str:
    """The kind of machine: '2 cores, 8 GB, Linux x86_64, Python 3.11.7'."""
    count = cores()
    memory = round(psutil.virtual_memory().total / 2**30)
    return (
        f"{count} core{'s' * (count != 1)}, {memory} GB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def cores() -> int:
    """The processors that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
