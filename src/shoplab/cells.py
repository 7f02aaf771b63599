"""What a notebook's cells start, so that a cell that runs again replaces it and does not double it.

A reader who changes a worker and runs its cell again expects one worker, the changed one. The one
from before would go on beside it, in the same consumer group, with nobody holding its handle.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Execution:
    """One run of one cell: the front end's name for the cell, and that of its request."""

    cell: str
    request: str


@dataclass(frozen=True)
class _Started:
    by: Execution
    name: str
    runs: Callable[[], bool]
    end: Callable[[], None]


class Cells:
    """What each cell has started."""

    def __init__(self) -> None:
        self._started: list[_Started] = []

    def started(self, name: str, runs: Callable[[], bool], end: Callable[[], None]) -> None:
        """Note what the cell that now runs has started; ``end`` is called when it runs again."""
        now = execution()
        if now is not None:
            self._started.append(_Started(now, name, runs, end))

    def end_earlier(self) -> None:
        """End what an earlier run of this cell has started, and say so in a line on stderr.

        What one run of a cell starts stays together, however much it is; so does what two cells do.
        """
        now = execution()
        if now is None:
            return
        earlier = [each for each in self._started if _is_earlier(each.by, now)]
        names = [each.name for each in earlier if each.runs()]
        for each in reversed(earlier):
            self._started.remove(each)
            each.end()
        if names:
            print(f"Ended what this cell had started before: {', '.join(names)}.", file=sys.stderr)


def in_ipython() -> bool:
    """Whether cells are run here: in a notebook's kernel, or in a terminal's IPython."""
    return _shell() is not None


def execution() -> Execution | None:
    """The cell that runs now; None where no front end names its cells.

    JupyterLab and VS Code do. Those that run a notebook once, from top to bottom, do not.
    """
    shell = _shell()
    request = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = request.get("metadata", {}).get("cellId")
    return Execution(cell, request["header"]["msg_id"]) if cell else None


def _is_earlier(run: Execution, now: Execution) -> bool:
    return run.cell == now.cell and run.request != now.request


def _shell() -> Any:
    ipython = sys.modules.get("IPython")  # whoever runs cells has imported it
    return ipython and ipython.get_ipython()
