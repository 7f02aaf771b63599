"""`make book` runs what has changed and `make test` has not run; an early end spoils nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from checkout import CHECKOUT
from jupyter_cache import get_cache
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from shoplab.waiting import until
from tools import execution
from tools.notebooks import METADATA

pytestmark = pytest.mark.server


class Course:
    """A checkout with two notebooks, each of which writes down that it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = [Path("notebooks", f"01-{number}-count.ipynb") for number in (1, 2)]
        Path("notebooks").mkdir()
        Path("src", "shoplab").mkdir(parents=True)
        Path("src", "shoplab", "laboratory.py").touch()
        Path("requirements.txt").touch()
        for path in self.paths:
            self.write(path, "1 + 1")

    def write(self, path: Path, *codes: str) -> None:
        note = f"print({path.stem!r}, file=open({str(self.folder / 'ran')!r}, 'a'))"
        cells = [new_code_cell(code) for code in (note, *codes)]
        nbformat.write(new_notebook(cells=cells, metadata=METADATA), path)

    def executed(self, **options: bool) -> tuple[bool, list[str]]:
        """Whether all went well, and which ran."""
        ran = self.folder / "ran"
        ran.write_text("")
        went_well = execution.execute(self.paths, **options)
        return went_well, sorted(name[:4] for name in ran.read_text().split())

    def kept(self, path: Path) -> Path:
        """The file that holds what the notebook at ``path`` has put out."""
        notebook = nbformat.read(path, as_version=4)
        record = get_cache(execution.CACHE).match_cache_notebook(notebook)
        return execution.CACHE / "executed" / record.hashkey / "base.ipynb"


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOPLAB_LEDGER", raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "_toc.yml").touch()
    return Course(tmp_path)


def test_what_has_run_does_not_run_again(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    assert course.executed() == (True, ["01-1", "01-2"])
    assert course.executed() == (True, [])
    assert course.executed(fresh=True) == (True, ["01-1", "01-2"])

    course.write(course.paths[1], "1 + 2")
    assert course.executed() == (True, ["01-2"])

    for path in (Path("src", "shoplab", "laboratory.py"), Path("requirements.txt")):
        path.write_text("# another")
        assert course.executed() == (True, ["01-1", "01-2"]), path

    monkeypatch.setattr(execution, "machine", lambda: "77 cores")
    assert course.executed() == (True, ["01-1", "01-2"])
    monkeypatch.setattr(execution, "servers", lambda: iter(["Redis 99"]))
    assert course.executed() == (True, ["01-1", "01-2"])
    assert course.executed() == (True, [])


def test_a_change_of_the_shop_runs_who_opens_it(course: Course) -> None:
    course.write(course.paths[1], "if False:\n    from shop.settings import Settings")
    course.executed()
    Path("src", "shop").mkdir()
    Path("src", "shop", "settings.py").touch()
    assert course.executed() == (True, ["01-2"])


def test_prose_alone_makes_nothing_run(course: Course) -> None:
    course.executed()
    notebook = nbformat.read(course.paths[0], as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("More words."))
    nbformat.write(notebook, course.paths[0])
    assert course.executed() == (True, [])


def test_what_a_cell_waits_for_is_no_output(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOPLAB_PROGRESS")
    waits = "waiting.PATIENCE = 0.1\nwith waiting.announced('Starting'): time.sleep(0.5)"
    course.write(course.paths[0], f"import time\nfrom shoplab import waiting\n{waits}")
    course.executed()
    ran = nbformat.read(course.kept(course.paths[0]), as_version=4)
    assert [cell.outputs for cell in ran.cells] == [[], []]


def test_a_failure_is_told_and_the_others_run(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    course.write(course.paths[0], "1 / 0")
    assert course.executed() == (False, ["01-1", "01-2"])
    said = capsys.readouterr()
    assert "failed  01-1-count" in said.out and "ZeroDivisionError" in said.err
    assert said.out.index("01-1-count") < said.out.index("01-2-count")
    assert course.executed() == (False, ["01-1"])


def test_a_kernel_that_dies_is_a_failure(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    course.write(course.paths[0], "import os; os.kill(os.getpid(), 9)")
    assert course.executed()[0] is False
    assert "Kernel died" in capsys.readouterr().err


RECORD = "import pathlib; pathlib.Path('../_build/ledger/01-1--some-claim.json').write_text('{}')"


def test_records_live_as_long_as_their_run(course: Course) -> None:
    ledger = Path("_build", "ledger")
    ledger.mkdir(parents=True)
    course.write(course.paths[0], RECORD)
    course.executed()
    (record,) = ledger.iterdir()
    for gone in ("01-2--left-by-hand.json", "09-1--notebook-is-gone.json"):
        (ledger / gone).write_text("{}")
    course.write(course.paths[1], "2 + 2")
    assert course.executed() == (True, ["01-2"])
    assert list(ledger.iterdir()) == [record]
    record.unlink()
    assert course.executed() == (True, ["01-1"])


def checked(course: Course, *options: str) -> int:
    """Let nbval check the notebooks as `make test` does; the exit status."""
    (course.folder / "pytest.ini").write_text("[pytest]\n")
    run = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "notebooks"]
    done = subprocess.run(
        [*run, "-p", "tools.keeping", "-n", "2", "--dist", "loadfile", *options],
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        | {"PYTHONPATH": str(CHECKOUT), "SHOPLAB_LEDGER": str(course.folder / "elsewhere")},
    )
    return done.returncode


def test_what_nbval_has_passed_does_not_run_again(course: Course) -> None:
    record = "import os, pathlib; pathlib.Path(os.environ['SHOPLAB_LEDGER'], '{}').touch()"
    Path("elsewhere").mkdir()
    for old in ("_build/ledger/01-1--was-there-before.json", "elsewhere/01-1--an-old-run.json"):
        Path(old).parent.mkdir(parents=True, exist_ok=True)
        Path(old).touch()
    course.write(course.paths[0], record.format("01-1--some-claim.json"), "print(6)\n6 * 7")
    course.write(course.paths[1], record.format("01-2--some-claim.json"), "1 / 0")
    assert checked(course) == pytest.ExitCode.TESTS_FAILED
    assert [path.name for path in Path("_build/ledger").iterdir()] == ["01-1--some-claim.json"]
    assert course.executed() == (False, ["01-2"])
    seen = outputs(course.paths[0])
    assert course.executed(fresh=True) == (False, ["01-1", "01-2"])
    assert seen == outputs(course.paths[0]) != []


def outputs(path: Path) -> list[NotebookNode]:
    """The cells of the run of the notebook at ``path`` that is kept, with their outputs."""
    cache = get_cache(execution.CACHE)
    kept = cache.match_cache_notebook(nbformat.read(path, as_version=4))
    notebook = cache.get_cache_bundle(kept.pk).nb
    return [notebook.metadata, *notebook.cells]


@pytest.mark.parametrize("changed", ["the code", "the laboratory", "a cell did not run"])
def test_what_nbval_has_passed_counts_as_long_as_it_would_pass_again(
    course: Course, changed: str
) -> None:
    cells = [f"--deselect={path}::Cell 1" for path in course.paths]
    assert checked(course, *(cells if changed == "a cell did not run" else [])) == 0
    if changed == "the code":
        course.write(course.paths[0], "1 + 2")
    elif changed == "the laboratory":
        Path("src", "shoplab", "laboratory.py").write_text("# another")
    expected = ["01-1"] if changed == "the code" else ["01-1", "01-2"]
    assert course.executed() == (True, expected)


@pytest.mark.parametrize("left", [None, "", '{"cells": ['])
def test_what_a_killed_build_left_half_written_is_made_again(
    course: Course, left: str | None
) -> None:
    course.executed()
    half = course.kept(course.paths[0])
    half.unlink() if left is None else half.write_text(left)
    assert course.executed() == (True, ["01-1"])
    assert course.executed() == (True, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_is_ended_leaves_no_kernel(course: Course, number: signal.Signals) -> None:
    course.write(course.paths[0], "import time; time.sleep(100)")
    course.write(course.paths[1], "import time; time.sleep(100)")
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tools.execution import *\n"
        f"execute([Path(path) for path in {[str(path) for path in course.paths]}])"
    )
    build = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "JOBS": "2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ran = course.folder / "ran"
    until(lambda: ran.exists() and len(ran.read_text().split()) == 2, 60)
    kernels = psutil.Process(build.pid).children()
    assert len(kernels) == 2
    build.send_signal(number)
    build.wait(20)
    until(lambda: not any(kernel.is_running() for kernel in kernels), 20)
