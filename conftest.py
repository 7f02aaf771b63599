"""For every test: an expected failure is a failure, nothing is said of progress, and where several
files run at the same time (`pytest -n`), a notebook that asks for it runs alone."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tools.running import end_with_make, jobs, room, runs_alone

# What a cell waits for is said to people, and is no output to compare.
os.environ.setdefault("SHOPLAB_PROGRESS", "off")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count an xfail as failed: nbval marks so the cells after one that ran out of time."""
    report = yield
    reason = getattr(report, "wasxfail", None)
    if reason is not None:
        del report.wasxfail
        report.outcome = "failed"
        report.longrepr = f"not run to its end: {reason or 'expected failures are not accepted'}"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means."""
    return jobs()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, what takes long comes first and what runs alone last, so that few wait."""

    def rank(item: pytest.Item) -> int:
        if item.path.suffix == ".ipynb":
            return 3 if runs_alone(item.path) else 0
        return 1 if item.get_closest_marker("server") else 2

    if hasattr(config, "workerinput"):
        ranks: dict[Path, int] = {}
        for item in items:
            ranks[item.path] = min(ranks.get(item.path, 3), rank(item))
        items.sort(key=lambda item: ranks[item.path])


class Rooms:
    """Enters the room with a file's first test and leaves it with the last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Path | None = None
        self._stay = ExitStack()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Wait for the room; whoever is inside may take minutes."""
        if self._file != item.path:
            alone = item.path.suffix == ".ipynb" and runs_alone(item.path)
            self._stay.enter_context(room(self._folder, alone=alone))
            self._file = item.path
        try:
            return (yield)
        finally:
            if nextitem is None or nextitem.path != item.path:
                self._stay.close()
                self._file = None


def pytest_configure(config: pytest.Config) -> None:
    """Only the workers of one run wait for each other: a run within a test must not."""
    if hasattr(config, "workerinput"):
        folder = config.rootpath / "_build"
        folder.mkdir(exist_ok=True)
        config.pluginmanager.register(Rooms(folder))
    else:
        end_with_make()
