"""How many notebooks run at the same time, and who waits for whom."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import psutil
import pytest
from checkout import CHECKOUT
from nbformat.v4 import new_code_cell, new_notebook

from shoplab.locks import held
from shoplab.waiting import until
from tools import running


def test_cores_and_memory_say_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = psutil.virtual_memory()
    monkeypatch.delenv("JOBS", raising=False)
    monkeypatch.setattr(running, "cores", lambda: 8)
    for available, expected in ((100e9, 12), (4.6e9, 3), (0.1e9, 1)):
        monkeypatch.setattr(
            psutil, "virtual_memory", lambda have=available: memory._replace(available=int(have))
        )
        assert running.jobs() == expected


def test_the_user_may_say_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", "3")
    assert running.jobs() == 3
    for wrong in ("0", "many", "-1"):
        monkeypatch.setenv("JOBS", wrong)
        with pytest.raises(SystemExit, match="a number from 1 on"):
            running.jobs()


class Visit(threading.Thread):
    """Somebody in the room, or before its door."""

    def __init__(self, folder: Path, log: list[str], name: str, alone: bool) -> None:
        super().__init__(daemon=True)
        self.folder, self.log, self.label, self.alone = folder, log, name, alone
        self.leave = threading.Event()
        self.start()

    def run(self) -> None:
        with running.room(self.folder, alone=self.alone):
            self.log.append(self.label)
            self.leave.wait(10)


def test_one_that_wants_to_be_alone_waits_and_those_after_it_wait_for_it(tmp_path: Path) -> None:
    log: list[str] = []
    first = Visit(tmp_path, log, "first", False)
    second = Visit(tmp_path, log, "second", False)
    until(lambda: len(log) == 2)  # they share it
    alone = Visit(tmp_path, log, "alone", True)
    until(lambda: held(tmp_path / "turn.lock"))
    late = Visit(tmp_path, log, "late", False)
    first.leave.set()
    first.join()
    assert "alone" not in log
    second.leave.set()
    until(lambda: log[2:] == ["alone"])
    until(lambda: held(tmp_path / "turn.lock"))
    assert late.is_alive() and "late" not in log
    alone.leave.set()
    until(lambda: log[3:] == ["late"])
    late.leave.set()


MAKEFILE = """
all:
\t@"$(PYTHON)" -c "from tools.running import *; end_with_make(); print(os.getpid(), flush=True); \\
\t\ttime.sleep(100)"
"""


def test_what_make_has_started_ends_with_it_even_by_sigkill(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        ["make", "--no-print-directory"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as make:
        assert make.stdout is not None
        started = psutil.Process(int(make.stdout.readline()))
        make.kill()
        until(lambda: not started.is_running() or started.status() == "zombie", 10)


# -- pytest -n ------------------------------------------------------------------------------------

NOTE = """
import os, pathlib, time
diary = pathlib.Path({diary!r})
def note(what):
    with diary.open("a") as file:
        print(what, {name!r}, os.environ["PYTEST_XDIST_WORKER_COUNT"], file=file)
note("begins")
"""
MEET = """
deadline = time.monotonic() + 1.5
while time.monotonic() < deadline and diary.read_text().count("begins") < 2:
    time.sleep(0.01)
"""


@pytest.mark.server
def test_a_notebook_that_asks_for_it_runs_alone_by_pytest_too(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    for name in ("one", "alone", "two"):
        codes = [
            NOTE.format(diary=str(diary), name=name),
            MEET.format(patience=1.5),
            'note("ends")',
        ]
        notebook = new_notebook(
            cells=[new_code_cell(code) for code in codes],
            metadata={"shoplab": {"alone": True}} if name == "alone" else {},
        )
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = [sys.executable, "-m", "pytest", "-p", "conftest", "--nbval-lax", "--nbval-current-env"]
    done = subprocess.run(
        [*run, "-n", "auto", "--dist", "loadfile", "."],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        | {"PYTHONPATH": str(CHECKOUT), "JOBS": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    notes = [line.split() for line in diary.read_text().splitlines()]
    assert {workers for _, _, workers in notes} == {"2"}
    inside: set[str] = set()
    for _, name, _ in notes:
        assert not inside or "alone" not in inside | {name} or inside == {name}
        inside ^= {name}
