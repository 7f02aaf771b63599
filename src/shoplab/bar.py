"""A bar of the time that a wait takes, where somebody looks: in a cell or in a terminal."""

from __future__ import annotations

import html
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any, Protocol


class Bar(Protocol):
    """Something that shows how long a wait has taken, and leaves nothing behind."""

    def show(self, text: str, seconds: float, limit: float | None) -> None:
        """Show ``text``, and how much of the ``limit`` has gone by, where there is one."""

    def remove(self) -> None:
        """Take away what was shown."""


def bar_here() -> Bar | None:
    """A bar for where this process is read.

    None where nobody looks, such as in a service's log, and where ``SHOPLAB_PROGRESS=off`` says so,
    for runs whose outputs are compared or published.
    """
    if os.environ.get("SHOPLAB_PROGRESS") == "off":
        return None
    # A notebook's shell has a kernel. IPython is not imported to learn whether there is one.
    shell: Any = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        return CellBar(shell.display_pub.publish)
    return TerminalBar() if sys.stderr.isatty() else None


class CellBar:
    """A bar among the outputs of the cell that waits."""

    def __init__(self, publish: Callable[..., None]) -> None:
        """``publish`` is the method of the shell's display publisher."""
        self._publish = publish
        self._id = secrets.token_hex(8)
        self._shown = False

    def show(self, text: str, seconds: float, limit: float | None) -> None:
        """Show the bar, or bring it up to date."""
        share = f' value="{seconds:.1f}" max="{limit:g}"' if limit else ""
        bar = f"<progress{share}></progress> {html.escape(text)}"
        self._put({"text/html": bar, "text/plain": text})

    def remove(self) -> None:
        """Leave an output without any form, which takes no room."""
        self._put({})

    def _put(self, forms: dict[str, str]) -> None:
        self._publish(forms, transient={"display_id": self._id}, update=self._shown)
        self._shown = True


class TerminalBar:
    """A bar on the terminal's last line."""

    def __init__(self) -> None:
        self._line: Any = None

    def show(self, text: str, seconds: float, limit: float | None) -> None:
        """Show the bar, or bring it up to date."""
        if self._line is None:
            from tqdm import tqdm

            self._line = tqdm(total=limit, bar_format="{desc} {bar}", leave=False)
        self._line.n = seconds
        self._line.set_description_str(text)

    def remove(self) -> None:
        """Clear the line."""
        self._line.close()
