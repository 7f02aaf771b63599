"""How much memory processes use."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import psutil


def memory(processes: Iterable[psutil.Process]) -> float:
    """Memory of these processes in MB; where the system can tell, what they share counts once."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):  # it ended while we counted
            usage = process.memory_full_info()
            total += getattr(usage, "pss", usage.uss)
    return round(total / 1e6, 1)
