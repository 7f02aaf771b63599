"""What nbval has seen of a notebook that passed is kept, and `make book` need not run it again.

A plugin of pytest: `make test` asks for it by `-p tools.keeping`.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbval.kernel
import pytest
from ipykernel.ipkernel import IPythonKernel
from nbformat import NotebookNode

from shoplab.claims import ledger_directory
from tools.execution import BUILD, Run, fingerprint, keep, sources
from tools.kernels import LocalKernel


class Keeping:
    """Keeps the outputs of each notebook all of whose cells ran and passed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._run: Run | None = None
        self._began = 0.0
        self._passed: list[pytest.Item] = []

    @pytest.hookimpl(wrapper=True, trylast=True)  # when the notebook has got its turn
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Note what a notebook depends on before its first cell; keep its run after the last."""
        if item.path.suffix != ".ipynb":
            return (yield)
        path = item.path.relative_to(self._root)
        if self._run is None or self._run.path != path:
            self._run, self._passed = Run(path, depends_on=fingerprint(sources(path))), []
            self._began = time.monotonic()
            for record in ledger_directory(BUILD).glob(f"{self._run.number}--*.json"):
                record.unlink()
        result = yield
        if nextitem is None or nextitem.path != item.path:
            self._run.seconds = time.monotonic() - self._began
            notebook = executed(self._passed)
            if notebook is not None:
                keep(self._run, notebook, BUILD / "ledger")
            self._run = None
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Note which cells pass."""
        yield
        if self._run is not None:
            self._passed.append(item)


def executed(cells: list[Any]) -> NotebookNode | None:
    """The notebook of nbval's ``cells`` with their outputs; none if a cell of it did not run."""
    if not cells:
        return None
    notebook: NotebookNode = deepcopy(cells[0].parent.nb)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if [cell.cell_num for cell in cells] != list(range(len(code))):
        return None
    for number, (cell, ran) in enumerate(zip(code, cells, strict=True), 1):
        cell.outputs, cell.execution_count = ran.test_outputs, number
        for output in cell.outputs:
            if "execution_count" in output:  # nbval lets the kernel count nothing
                output.execution_count = number
    # as a client of the kernel notes it: Sphinx colours the code by it
    notebook.metadata["language_info"] = dict(IPythonKernel.language_info)
    return notebook


def pytest_configure(config: pytest.Config) -> None:
    """Begin to keep; the process that only hands out files runs no cell."""
    nbval.kernel.KernelManager = LocalKernel
    config.pluginmanager.register(Keeping(config.rootpath))
