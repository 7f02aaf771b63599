"""The state file informs; what is ended carries our mark."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from shoplab.errors import DeadlineError
from shoplab.stack.server import MARK
from shoplab.stack.state import VERSION, exclusive, left_behind, read_state, sweep, write_state
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
        until(lambda: psutil.Process(process.pid).name() == "sleep")
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_what_is_written_is_read_back_and_is_for_its_owner_only(tmp_path: Path) -> None:
    write_state(tmp_path, {"servers": []})
    assert read_state(tmp_path) == {"version": VERSION, "servers": []}
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "text", ["", '{"version": 1, "serv', "[]", "null", '{"version": 99, "servers": []}', "\0\xff"]
)
def test_a_damaged_or_foreign_state_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_bytes(text.encode("latin-1"))
    assert read_state(tmp_path) is None


def test_a_pid_that_belongs_to_somebody_else_is_not_signalled(tmp_path: Path, sleeper) -> None:
    foreign = sleeper()
    created = psutil.Process(foreign.pid).create_time()
    for claimed in (created, created - 1000):
        server = {"name": "redis", "pid": foreign.pid, "created": claimed}
        write_state(tmp_path, {"servers": [server]})
        assert sweep(tmp_path) == 0
    assert foreign.poll() is None


def test_the_servers_of_another_home_are_not_signalled(tmp_path: Path, sleeper) -> None:
    neighbour = sleeper(**{MARK: str(tmp_path / "neighbour")})
    assert sweep(tmp_path) == 0
    assert neighbour.poll() is None


@pytest.mark.parametrize("text", [None, "", "{", json.dumps({"version": 99})])
def test_what_carries_our_mark_is_ended_whatever_the_state_says(
    tmp_path: Path, sleeper, text: str | None
) -> None:
    ours = sleeper(**{MARK: str(tmp_path)})
    if text is not None:
        (tmp_path / "state.json").write_text(text)
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


def test_a_lock_keeps_out_the_second_and_is_free_again_afterwards(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        exclusive(lock, 1),
        pytest.raises(DeadlineError, match=r"held .*lock for 0 s"),
        exclusive(lock, 0.1),
    ):
        pass
    with exclusive(lock, 0.1):
        pass
