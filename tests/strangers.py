"""Be somebody else for a while: a user to whom nothing here belongs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be an ordinary user, in this process; whoever is one already stays what they are."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder where everybody may look, as nobody may in pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@cache
def stranger() -> tuple[str, ...]:
    """The command before a command that runs it as an ordinary user.

    Where this Python lies in a folder of root's, the stranger may read all, and write no more than
    any other.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv on the path")
    plain = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    reader = (*plain, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    for command in (plain, reader):
        # By way of a shell: setpriv itself may still start what it could read as root.
        try_it = [*command, "sh", "-c", "exec \"$0\" -c ''", sys.executable]
        if subprocess.run(try_it, stderr=subprocess.DEVNULL).returncode == 0:
            return command
    pytest.skip("another user cannot run this Python")


def as_stranger(
    command: Sequence[str | Path], cwd: Path, home: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as an ordinary user who has a home of their own, and nothing else."""
    home.mkdir(exist_ok=True)
    if not home.stat().st_uid:
        os.chown(home, NOBODY, NOBODY)
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        [*stranger(), *command], cwd=cwd, env=environment, capture_output=True, text=True
    )
