"""One run of one notebook: what tells it from others, and the directory that takes its files."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

import psutil

from shoplab.paths import home_directory, private_directory

KEPT_FOR = 24 * 3600
"""Seconds after which the directory of a run that could not remove it is swept."""


class Run:
    """A suffix that no other run has, and a directory of its own for logs, spans and records."""

    def __init__(self, number: str) -> None:
        """Make the directory; those that killed runs left a day ago are swept."""
        self.suffix = secrets.token_hex(3)
        runs = private_directory(home_directory() / "runs")
        _sweep(runs)
        name = re.sub(r"[^\w-]", "-", f"{number}-{self.suffix}")
        self.directory = private_directory(runs / f"{name}.{os.getpid()}")
        self._kept = False

    def keep(self) -> None:
        """Leave the directory where it is at the end: something failed, and it holds the logs."""
        self._kept = True

    def remove(self) -> None:
        """Remove the directory, unless it is to be kept. Safe to repeat."""
        if not self._kept:
            shutil.rmtree(self.directory, ignore_errors=True)


def _sweep(runs: Path) -> None:
    """Remove what killed kernels left, a day later: until then their logs may be wanted."""
    for left in runs.iterdir():
        owner = left.suffix.removeprefix(".")
        with suppress(FileNotFoundError):  # another kernel sweeps as well
            old = time.time() - left.stat().st_mtime > KEPT_FOR
            if old and owner.isdigit() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(left, ignore_errors=True)
