"""Programs that servers are made of: asked who they are, and understood when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from shoplab.environment import for_servers

ANSWER_TIMEOUT = 10.0
"""Seconds that a program may take to name its version."""

Advice = tuple[tuple[str, str], ...]
"""What is read among a program's words, and what to do then; the first that is found counts."""

_AGAIN = "then `shoplab down` and try again; where that is refused, work where more is allowed"
MORE_MEMORY = f"raise the limit of memory with `ulimit -v unlimited`, {_AGAIN}"
MORE_THREADS = f"raise the limits of processes and memory (`ulimit -u`, `ulimit -v`), {_AGAIN}"
MORE_FILES = f"raise the limit of open files with `ulimit -n 1024`, {_AGAIN}"
LARGER_FILES = f"raise the limit of a file's size with `ulimit -f unlimited`, {_AGAIN}"

LIMITS: Advice = (
    ("unable to create native thread", MORE_THREADS),
    ("Resource temporarily unavailable", MORE_THREADS),
    ("Could not reserve enough space", MORE_MEMORY),
    ("Could not allocate", MORE_MEMORY),
    ("insufficient memory", MORE_MEMORY),
    ("annot allocate memory", MORE_MEMORY),
    ("failed to map segment", MORE_MEMORY),
    ("exit status -11", MORE_MEMORY),  # of a program that got no memory and did not look
    ("Too many open files", MORE_FILES),
    ("File too large", LARGER_FILES),
)
"""What programs say on a login node, or wherever else little is allowed."""


SIGNALS = {
    signal.SIGKILL: f"if that was the system, short of memory: {MORE_MEMORY}",
    signal.SIGSEGV: f"if its memory is limited, {MORE_THREADS}",
    signal.SIGXCPU: f"raise the limit of a program's time with `ulimit -t unlimited`, {_AGAIN}",
    signal.SIGXFSZ: LARGER_FILES,
}
"""What to do where a program was ended by a signal, without a word."""


class Unfit(Exception):
    """This program cannot be used; the message says why, in the program's own words."""


def ask(*command: str | Path) -> str:
    """What a program prints that is asked for its version; it sees what a server would see.

    Raises ``Unfit`` where it does not run here: an old C library, another architecture, a limit.
    """
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=for_servers(os.environ),
            cwd=tempfile.gettempdir(),  # a JVM that fails leaves a report where it stands
            timeout=ANSWER_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise Unfit(f"does not answer within {ANSWER_TIMEOUT:.0f} s") from None
    except OSError as error:
        raise Unfit(f"cannot be run ({error.strerror})") from None
    words = answer.stdout.decode(errors="replace").strip()
    if answer.returncode:
        said = f": {' '.join(words.splitlines()[-3:])}" if words else ""
        raise Unfit(f"ends with exit status {answer.returncode}{said}")
    return words


def advice(words: str, table: Advice = LIMITS) -> str | None:
    """What to do about a program that said this at its end; None where that is not known."""
    return next((then for seen, then in table if seen in words), None)
