"""A function to run in a process of its own, and what goes with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoplab.paths import private_directory


@dataclass(frozen=True)
class Job:
    """A call, the name of its process in logs, traces and figures, and where its files go.

    ``traced`` says whether the process records its spans.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    name: str
    directory: Path
    traced: bool

    @property
    def log(self) -> Path:
        """The file that takes what the process prints."""
        return private_directory(self.directory / "logs") / f"{self.name}.log"

    @property
    def spans(self) -> Path | None:
        """The directory that takes the process's spans; None where none are recorded."""
        return private_directory(self.directory / "spans") if self.traced else None
