"""A module as a program, in a child that was started here."""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Sequence


def run_program(module: str, arguments: Sequence[str]) -> None:
    """Run a module as ``python -m`` does; what signals do is the program's own affair."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
