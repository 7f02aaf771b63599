"""What `make lab` opens shows what the book shows: notebooks run, again, and after an interrupt."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import nbformat
import psutil
import pytest
import requests
from checkout import CHECKOUT
from playwright.sync_api import Browser, Locator, Page

from shoplab.ports import LOOPBACK, free_ports
from shoplab.waiting import until

FOLDER = CHECKOUT / "notebooks"
NOTEBOOKS = ["03-1-wait-for-the-answer", "01-1-place-an-order-two-ways"]
SETTINGS = {
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
"""The reader's own, in this test: nothing is saved, and every cell is in the page."""

WAIT = 90.0
"""Seconds for what a quiet machine does in one or two."""

CELLS = """() => {
  const panel = globalThis.jupyterapp?.shell.currentWidget;
  if (!panel?.content?.widgets || !panel.sessionContext) return {path: null};
  const cells = panel.content.widgets.filter(cell => cell.model.type === "code");
  return {
    path: panel.context.path,
    idle: panel.sessionContext.session?.kernel?.status === "idle",
    counts: cells.map(cell => cell.model.executionCount),
    outputs: cells.flatMap(cell => cell.model.outputs.toJSON()),
    folded: cells.filter(cell => cell.inputHidden).map(cell => cell.model.id),
    silent: cells.filter(cell => cell.outputHidden).map(cell => cell.model.id),
  };
}"""
"""The code cells of the open notebook, and what they have published."""

ADD_AND_RUN = """async code => {
  const notebook = jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = notebook.widgets.length - 1;
  await jupyterapp.commands.execute("notebook:insert-cell-below");
  notebook.activeCell.model.sharedModel.setSource(code);
  jupyterapp.commands.execute("notebook:run-cell");
}"""


@dataclass
class Reader:
    """A reader's page of JupyterLab, and what it met there."""

    page: Page
    address: str
    ran: int = 0
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, name: str) -> None:
        """Open a notebook in a workspace of its own, and wait for its kernel and its text.

        In a workspace that has been used JupyterLab first shows again what was open there, and on
        a slow machine it brings the notebook to the front once more after a link was followed.
        """
        path = f"notebooks/{name}.ipynb"
        self.page.goto(f"{self.address}/lab/workspaces/{secrets.token_hex(4)}/tree/{path}")
        until(lambda: (cells := self.cells())["path"] == path and cells["idle"], 60)
        self.shown(".jp-MarkdownCell .myst h1").wait_for(timeout=WAIT * 1000)
        self.ran = 0

    def shown(self, selector: str) -> Locator:
        """What is in the tab that is open."""
        return self.page.locator(f".jp-MainAreaWidget:not(.lm-mod-hidden) {selector}")

    def cells(self) -> dict[str, Any]:
        cells: dict[str, Any] = self.page.evaluate(CELLS)
        return cells

    def on_red(self) -> list[str]:
        """Outputs that JupyterLab shows on a red ground: errors and what went to stderr."""
        outputs = self.cells()["outputs"]
        errors = [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]
        return errors + [o["text"] for o in outputs if o.get("name") == "stderr"]

    def run_all(self) -> None:
        """Run All Cells, as the menu has it, to the end or to the first error."""

        def done() -> bool:
            cells = self.cells()
            ran = all((count or 0) > self.ran for count in cells["counts"])
            return (ran and cells["idle"]) or bool(self.on_red())

        self.page.locator(".lm-MenuBar-item", has_text="Run").click()
        self.page.locator("[data-command='runmenu:run-all']").click()
        until(done, 180, every=0.5)
        self.ran = max(count or 0 for count in self.cells()["counts"])

    def add_and_run(self, code: str) -> None:
        """Write a cell below the last one, and run it."""
        self.page.evaluate(ADD_AND_RUN, code)

    def text(self) -> str:
        """What the notebook's prose says to whoever reads it."""
        return "\n".join(self.shown(".jp-MarkdownCell .myst").all_inner_texts())


def processes_of(run: str) -> list[psutil.Process]:
    """Every process that inherited this SHOPLAB_RUN: make, JupyterLab, kernels, servers."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SHOPLAB_RUN") == run and process.status() != "zombie":
                found.append(process)
        except psutil.Error:  # gone, or another user's
            continue
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`make lab`, with the settings of somebody who has never started JupyterLab before."""
    folder = tmp_path_factory.mktemp("jupyter")
    for name, settings in SETTINGS.items():
        path = folder / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))
    (folder / "jupyter_lab_config.json").write_text('{"LabApp": {"expose_app_in_browser": true}}')
    (port,) = free_ports(1)
    ours = {
        "JUPYTER_PORT": str(port),
        "JUPYTER_PORT_RETRIES": "0",
        "JUPYTER_TOKEN": secrets.token_hex(),
        "JUPYTER_CONFIG_DIR": str(folder),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "IPYTHONDIR": str(folder / "ipython"),
        "BROWSER": "true",  # the program of that name: it opens nothing
        "SHOPLAB_RUN": f"jupyterlab-{secrets.token_hex(4)}",
        "SHOPLAB_HOME": str(folder / "home"),
        "SHOPLAB_GRACE": "0.5",
        "SHOPLAB_LEDGER": str(folder / "ledger"),
    }
    left_out = {"JUPYTER_NO_CONFIG", "SHOPLAB_PROGRESS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    said = folder / "said"
    with said.open("w") as output:
        make = subprocess.Popen(
            ["make", "lab"], cwd=CHECKOUT, env=kept | ours, stdout=output, stderr=output
        )
    ours["address"] = f"http://{LOOPBACK}:{port}"
    ours["log"] = str(said)

    def answers() -> bool:
        assert make.poll() is None, said.read_text()
        try:
            return requests.get(f"{ours['address']}/api", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        until(answers, 60)
        yield ours
        token = {"Authorization": f"token {ours['JUPYTER_TOKEN']}"}
        requests.post(f"{ours['address']}/api/shutdown", headers=token, timeout=30)
        assert make.wait(30) == 0, said.read_text()
        until(lambda: not processes_of(ours["SHOPLAB_RUN"]), 60, every=0.2)
    finally:
        for process in processes_of(ours["SHOPLAB_RUN"]):
            process.kill()


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_saved() -> Iterator[None]:
    """The notebooks are the checkout's own."""
    stored = {path: path.read_bytes() for path in FOLDER.glob("*.ipynb")}
    yield
    assert [path.name for path in stored if path.read_bytes() != stored[path]] == []


@pytest.fixture(scope="module")
def reader(browser: Browser, lab: dict[str, str]) -> Iterator[Reader]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(WAIT * 1000)
    page.goto(f"{lab['address']}/lab?token={lab['JUPYTER_TOKEN']}")
    reader = Reader(page, lab["address"])
    yield reader
    page.close()


def solved(name: str) -> list[str]:
    """The cells of a notebook that solve an exercise."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    return [cell.id for cell in notebook.cells if "jupyter" in cell.metadata]


def told(name: str) -> list[str]:
    """Those of them whose stored outputs would give the solution away."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    return [cell.id for cell in notebook.cells if "jupyter" in cell.metadata and cell.outputs]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_shown_as_in_the_book_and_runs(reader: Reader, name: str) -> None:
    reader.open(name)
    until(lambda: reader.cells()["folded"] == solved(name) != [], WAIT)
    assert reader.cells()["silent"] == told(name) != []
    assert re.findall(r":::.*|\{[\w-]+\}`.*|Unknown Directive", reader.text()) == []
    reader.run_all()
    assert reader.on_red() == []
    assert reader.cells()["silent"] == []
    assert reader.shown("progress").count() == 0


def test_a_second_run_in_the_same_kernel_ends_what_the_first_had_started(
    reader: Reader, lab: dict[str, str]
) -> None:
    before = len(processes_of(lab["SHOPLAB_RUN"]))
    reader.run_all()
    assert reader.on_red() == []
    until(lambda: len(processes_of(lab["SHOPLAB_RUN"])) <= before, WAIT)


def test_a_cell_that_waits_shows_a_bar_and_can_be_interrupted(reader: Reader) -> None:
    reader.add_and_run("lab.until(lambda: False, 100)")
    reader.shown("progress[max='100']").wait_for(timeout=WAIT * 1000)
    reader.shown("[data-command='notebook:interrupt-kernel']").click()
    until(lambda: reader.on_red() == ["KeyboardInterrupt: "], WAIT)
    assert reader.shown("progress").count() == 0
    until(lambda: reader.cells()["idle"], WAIT)  # until then the kernel drops what is sent to it
    reader.add_and_run("lab.until(lambda: shop.alive)")
    until(lambda: reader.cells()["outputs"][-1].get("data") == {"text/plain": "True"}, WAIT)


def test_links_open_the_books_pages_beside_the_notebook(reader: Reader) -> None:
    reader.shown(".jp-MarkdownCell a[href*='01-introduction.md']").click()
    reader.shown(".jp-MarkdownViewer h1").get_by_text("Introduction").wait_for()
    assert "Unknown Directive" not in reader.shown(".jp-MarkdownViewer").inner_text()
    reader.open(NOTEBOOKS[-1])
    reader.shown(".jp-MarkdownCell a[href*='glossary.md']").first.click()
    reader.shown(".jp-MarkdownViewer dt").get_by_text("request-driven").wait_for()


def test_nothing_failed_in_the_page_and_no_other_host_was_asked(reader: Reader) -> None:
    assert reader.errors == []
    urls = [urlsplit(url) for url in reader.requests]
    assert {url.hostname for url in urls if url.scheme not in ("data", "blob")} == {LOOPBACK}
    assert [url.path for url in urls if url.path.endswith(("/news", "/update"))] == []
    assert reader.page.locator(".Toastify__toast").count() == 0  # where JupyterLab asks about news
