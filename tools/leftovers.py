"""Fail if a process of ours still runs: `make leftovers`, the last line of CI.

Ours is what carries this run's SHOPLAB_RUN or this stack's mark in its environment, or was started
from this environment's own programs; this process and its ancestors apart.
"""

from __future__ import annotations

import os
import sys

import psutil

from shoplab.paths import home_directory
from shoplab.servers.server import MARK

PATIENCE = 30.0
"""Seconds a stack that nobody uses any more gets to stop by itself, beyond its own grace."""


def main() -> int:
    """List what is left after the grace; return the exit status."""
    grace = float(os.environ.get("SHOPLAB_GRACE") or 0)
    left = psutil.wait_procs(ours(), timeout=grace + PATIENCE)[1]
    for process in left:
        print(f"still running: {described(process)}", file=sys.stderr)
    print(f"{len(left)} processes of ours left running")
    return 1 if left else 0


def ours() -> list[psutil.Process]:
    """The processes that belong to this run or this environment."""
    here = psutil.Process()
    known = {here.pid, *(parent.pid for parent in here.parents())}
    return [p for p in psutil.process_iter() if p.pid not in known and is_ours(p)]


def is_ours(process: psutil.Process) -> bool:
    """Whether a process shows one of the three signs."""
    try:
        environment = process.environ()
        program = os.path.join(process.cwd(), *process.cmdline()[:1])  # noqa: PTH118 - unresolved
    except (psutil.Error, OSError):
        return False  # gone, or another user's
    run = os.environ.get("SHOPLAB_RUN")
    return (
        (run is not None and environment.get("SHOPLAB_RUN") == run)
        or environment.get(MARK) == str(home_directory())
        or program.startswith(sys.prefix + os.sep)
    )


def described(process: psutil.Process) -> str:
    """PID, parent and command line, as far as they can be had."""
    try:
        return f"{process.pid} (child of {process.ppid()}): {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return f"{process.pid} (it ends just now)"


if __name__ == "__main__":
    sys.exit(main())
