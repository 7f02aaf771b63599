"""Errors of the laboratory: each says what failed, shows the log's end, and names the next step."""

from __future__ import annotations

import sys
import traceback
from datetime import datetime
from functools import partial
from pathlib import Path

LOG_LINES_SHOWN = 15


class LabError(Exception):
    """What a reader sees when something fails: one sentence, the log's last lines, one next step.

    ``what`` is the sentence, ``next_step`` what the reader can do now, ``log`` the file whose last
    lines are shown, where there is one.
    """

    def __init__(self, what: str, *, next_step: str, log: Path | None = None) -> None:
        self.what = what
        self.next_step = next_step
        self.log = log
        super().__init__(what, next_step)

    def __reduce__(self) -> tuple[partial[LabError], tuple[str]]:
        """Travel between processes whole; ``Exception``'s own way knows no keywords."""
        made = partial(type(self), next_step=self.next_step, log=self.log)
        return made, (self.what,)

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the reader's own lines and the words, none of our frames."""
        ours = (str(Path(__file__).parent), sys.prefix, sys.base_prefix)
        frames = traceback.extract_tb(self.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith(ours)]
        return [
            *(f"line {frame.lineno}: {frame.line}" for frame in own),
            *f"{type(self).__name__}: {self}".splitlines(),
        ]

    def __str__(self) -> str:
        parts = [self.what]
        if self.log is not None:
            parts.append(f"Log: {self.log}")
            parts.extend(f"  | {line}" for line in last_lines(self.log))
        parts.append(f"Next: {self.next_step}")
        return "\n".join(parts)


class SetupError(LabError):
    """Something that set-up brings (a jar, a Java, a cache) is missing, broken or cannot be had."""


class ServerError(LabError):
    """A Kafka, Redis or PostgreSQL server did not start, died, or refuses to serve."""


class PortTaken(ServerError):
    """Another program took a server's port between its choice and its use."""


class ProcessError(LabError):
    """A service or worker that a notebook started has died, or never became ready."""


class DeadlineError(LabError):
    """A condition that was awaited did not come true in time."""


class ClaimError(LabError):
    """A claim was measured and does not hold."""


class LoadError(LabError):
    """A load that cannot be offered, or a generator that could not offer it."""


class LagError(LabError):
    """The lag of a group could not be measured."""


class HistoryError(LabError):
    """A history breaks a promise, or cannot be kept."""


class PlanError(LabError):
    """A fault was planned and never struck: the experiment has not tried what it says."""


def last_lines(log: Path, count: int = LOG_LINES_SHOWN) -> list[str]:
    """The last ``count`` lines of a log; one line that says so where it cannot be read."""
    try:
        return log.read_text(errors="replace").splitlines()[-count:]
    except OSError as error:
        return [f"(the log cannot be read: {error.strerror})"]


def unforeseen(error: Exception, log: Path) -> LabError:
    """Tell of an error that nobody here foresaw; its traceback goes to the end of ``log``."""
    moment = datetime.now().astimezone().isoformat(timespec="seconds")
    words = "".join(traceback.format_exception(error))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{moment}\n{words}\n")
    return LabError(
        f"Something went wrong that the laboratory did not foresee: {error!r}.",
        next_step=f"report this, please, with {log} and what `shoplab doctor` says",
    )
