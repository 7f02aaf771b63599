"""What is ended carries our mark, whatever any file says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from shoplab.servers.server import MARK
from shoplab.stack.leftovers import left_behind, sweep
from shoplab.waiting import until

DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
signal.pause()
"""


@pytest.fixture
def sleeper() -> Iterator[object]:
    """Starts processes that sleep, with extra environment; ends them afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "60"], env=os.environ | environment)
        started.append(process)
        # it has its name a moment before its environment can be read
        until(lambda: environment.items() <= psutil.Process(process.pid).environ().items())
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_servers_of_another_home_are_not_signalled(tmp_path: Path, sleeper) -> None:
    neighbour = sleeper(**{MARK: str(tmp_path / "neighbour")})
    assert sweep(tmp_path) == 0
    assert neighbour.poll() is None


def test_what_carries_our_mark_is_ended(tmp_path: Path, sleeper) -> None:
    ours = sleeper(**{MARK: str(tmp_path)})
    assert sweep(tmp_path) == 1
    assert ours.wait(5) == -signal.SIGTERM


def test_what_does_not_heed_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = subprocess.Popen(
        [sys.executable, "-c", DEAF],
        env=os.environ | {MARK: str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    assert deaf.stdout is not None
    with deaf.stdout:
        deaf.stdout.readline()
        sweep(tmp_path, patience=0.3)
    assert deaf.wait(5) == -signal.SIGKILL
    assert left_behind(tmp_path) == []
