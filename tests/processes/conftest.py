"""Processes for the tests: every one that a test starts is gone when the test ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shoplab.processes import Process, Service, Worker, run, serve


class Starter:
    """Starts processes with their logs under one directory, and remembers them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[Process] = []

    def serve(self, factory: Callable[..., Any], *arguments: Any, **keywords: Any) -> Service:
        service = serve(factory, *arguments, directory=self.directory, **keywords)
        self.started.append(service)
        return service

    def run(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Worker:
        worker = run(function, *arguments, directory=self.directory, **keywords)
        self.started.append(worker)
        return worker


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    for process in starter.started:
        if process.alive:
            process.kill()
        if isinstance(process, Service):
            process._port.release()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Await a condition for ten seconds; its value, or a failed test."""

    def wait(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.01)
        pytest.fail("the condition did not come true within 10 s")

    return wait
