"""Faults that are planned, strike once, and prove that they struck.

To hit a gap between two steps for certain, a process calls ``reached`` there: where the plan says
so, it sends itself a signal. SIGKILL is a crash, SIGSTOP a halt.
"""

from __future__ import annotations

import signal
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shoplab.errors import PlanError

Point = tuple[str, Hashable]
"""A place in the code, and the key of what the process has in hand there."""


@dataclass(frozen=True)
class CrashPlan:
    """Which signal a process sends itself at which point, for which key; hand it to the process.

    Each fault is a file in ``directory``. Whoever removes the file is struck: one process and once,
    however many come to the point together and however often it is started again.
    """

    directory: Path
    faults: Mapping[Point, signal.Signals]

    def lay_out(self) -> CrashPlan:
        """Make the files, and return the plan."""
        self.directory.mkdir(mode=0o700)
        for fault in self.faults:
            self._file(fault).touch()
        return self

    def reached(self, place: str, key: Hashable) -> None:
        """Take the fault that is planned here out of the plan and strike; else do nothing."""
        fault = (place, key)
        if fault not in self.faults:
            return
        with suppress(FileNotFoundError):  # it has struck
            self._file(fault).unlink()
            # The signal goes to this very thread: no other statement of its comes before it.
            signal.raise_signal(self.faults[fault])

    def waiting(self) -> list[Point]:
        """The faults that have not struck yet, in the sequence of the plan."""
        return [fault for fault in self.faults if self._file(fault).exists()]

    def assert_struck(self) -> None:
        """Assert that every planned fault has struck; ``PlanError`` names those that have not."""
        waiting = self.waiting()
        if not waiting:
            return
        names = [f"{self.faults[fault].name} at {fault[0]!r}, {fault[1]!r}" for fault in waiting]
        place, key = waiting[0]
        raise PlanError(
            f"{len(waiting)} of {len(self.faults)} planned faults never struck: "
            f"{'; '.join(names)}.",
            next_step=f"look whether a process comes to plan.reached({place!r}, {key!r}), "
            "with a key of that type, before the experiment ends",
        )

    def _file(self, fault: Point) -> Path:
        return self.directory / str(list(self.faults).index(fault))
