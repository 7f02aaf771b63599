"""A cell that waits can be interrupted: the next one runs, and what should live on lives on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Kernel, kernel

from shoplab.stack.lease import supervisors
from shoplab.stack.leftovers import left_behind
from shoplab.waiting import until

CELLS = """
import requests
from fastapi import FastAPI
from shoplab import Lab

def shop():
    app = FastAPI()
    app.get("/")(lambda: "open")
    return app

def slow_shop(opened):
    while not opened.exists():
        time.sleep(0.01)
    return shop()

def work(seconds):
    time.sleep(seconds)
    return "done"

lab = Lab("00-0", traced=False)
opened = lab.directory / "opened"
service = lab.serve(shop)
"""


@pytest.fixture(scope="module")
def kernel_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with a lab and one service, in a home in which no server runs yet."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPLAB_HOME", str(home))
        patch.setenv("SHOPLAB_GRACE", "0.5")
        with kernel() as notebook:
            assert notebook.run(CELLS).errors == []
            yield notebook
            assert notebook.run("lab.close()").errors == []
            assert notebook.children() == []
        until(lambda: not supervisors(home), 60)
        assert left_behind(home) == []


@pytest.fixture
def notebook(kernel_of_its_own: Kernel) -> Iterator[Kernel]:
    """The same one for each test; its service has to outlive them all."""
    before = kernel_of_its_own.children()
    yield kernel_of_its_own
    assert kernel_of_its_own.run("assert requests.get(service.url).ok").errors == []
    assert kernel_of_its_own.children() == before


def interrupt(notebook: Kernel, cell: str) -> None:
    """Run a cell, interrupt it while it waits, and go on."""
    run = notebook.run(cell, interrupt=True)
    assert run.errors == ["KeyboardInterrupt"], run.messages
    assert [forms[-1] for forms in run.bars().values()] == [{}]
    assert notebook.run("print('next')").printed == "next\n"


def test_a_server_that_starts(notebook: Kernel) -> None:
    interrupt(notebook, "lab.kafka")
    assert notebook.run("print(lab.topic('orders'))").printed.startswith("orders-")


def test_a_condition_that_does_not_come_true(notebook: Kernel) -> None:
    interrupt(notebook, "lab.until(lambda: False, 60)")


def test_a_service_that_starts_ends_with_its_cell(notebook: Kernel) -> None:
    interrupt(notebook, "second = lab.serve(slow_shop, opened)")
    assert len(notebook.children()) == 1
    run = notebook.run("opened.touch()\nsecond = lab.serve(slow_shop, opened)\nprint(second.name)")
    assert run.printed == "slow_shop\n"
    notebook.run("second.stop()")


def test_a_service_that_starts_again_can_be_started_once_more(notebook: Kernel) -> None:
    notebook.run("opened.touch()\nsecond = lab.serve(slow_shop, opened)\nopened.unlink()")
    interrupt(notebook, "second.restart()")
    assert len(notebook.children()) == 1
    run = notebook.run("opened.touch()\nsecond.restart()\nassert requests.get(second.url).ok")
    assert run.errors == []
    notebook.run("second.stop()")


def test_a_workers_result(notebook: Kernel) -> None:
    """Also of a worker that has only just been started."""
    notebook.run("worker = lab.run(work, 1)")
    interrupt(notebook, "worker.result()")
    assert notebook.run("print(worker.result())").printed == "done\n"


def test_a_load_ends_and_another_one_is_offered(notebook: Kernel) -> None:
    interrupt(notebook, "lab.offer(service.url, rate=10, seconds=60)")
    until(lambda: len(notebook.children()) == 1)
    assert (
        notebook.run("print(lab.offer(service.url, rate=100, count=10).answered)").printed == "10\n"
    )
