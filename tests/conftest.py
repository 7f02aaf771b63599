"""Homes that no test shares with the reader's own stack, and no process left at the end.

Whatever starts a server, a service or a kernel has the mark ``server``, which `make test-quick`
leaves out. The mark comes with the fixtures that start one; a test that starts one without the mark
fails, so nobody has to remember.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoplab.locks import exclusive
from shoplab.servers.external import KAFKA_OPTIONS, VARIABLES
from shoplab.stack.lease import find_lease, supervisors
from shoplab.stack.leftovers import left_behind
from shoplab.stack.wire import Down
from shoplab.waiting import until

STARTERS = {"home", "installation", "kafka", "lab", "local", "servers", "traced"}
"""The fixtures of all tests that start a server or a service, or make what does."""

SERVERS = re.compile(
    r"shoplab\.(stack\.supervisor|processes\.child)|kafka\.Kafka|ipykernel|/(initdb|postgres) "
    r"|(redis|valkey|rabbitmq)-server (?!--version)"
)
"""In the command line of a server, a service or a kernel."""

started: list[str] = []
"""The command lines of those that this process has started."""


def _note(event: str, arguments: tuple[object, ...]) -> None:
    """Hear of every process that this one starts."""
    if event == "subprocess.Popen" and isinstance(arguments[1], list):
        line = " ".join(map(os.fsdecode, arguments[1]))
        if SERVERS.search(line):
            started.append(line)


sys.addaudithook(_note)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the mark to whatever uses a fixture that starts a server."""
    for item in items:
        if STARTERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


@pytest.fixture(autouse=True)
def _whoever_starts_a_server_has_the_mark(
    request: pytest.FixtureRequest, _stack_of_the_tests: Path
) -> Iterator[None]:
    log = _stack_of_the_tests / "supervisor.log"  # written, too, where a child starts the stack
    before = len(started), log.exists() and log.stat().st_size
    yield
    if request.node.get_closest_marker("server") is None:
        after = len(started), log.exists() and log.stat().st_size
        assert before == after, f"a test without the mark `server` started {started[before[0] :]}"


def stop_stack(home: Path) -> None:
    """Stop what runs in ``home`` and fail if a process of it stays."""
    lease = find_lease(home)
    if lease is not None:
        lease.request(Down())
    with exclusive(home / "supervisor.lock", 30):
        if lease is not None:
            lease.close()
        left = left_behind(home)
        for process in left:
            process.kill()
    until(lambda: not supervisors(home))
    assert not left, f"servers without a supervisor: {left}"


@pytest.fixture(scope="session", autouse=True)
def _stack_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One stack for all tests that use one and do not break it, in a home of its own."""
    home = tmp_path_factory.mktemp("home")
    # A shell that runs us in the background lets all its children ignore Ctrl+C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPLAB_HOME", str(home))
        patch.setenv("SHOPLAB_GRACE", "60")
        for variable in (*VARIABLES.values(), *KAFKA_OPTIONS):
            patch.delenv(variable, raising=False)
        yield home
    stop_stack(home)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for this test alone, whose path holds a space and an 'é'; the grace is 0.5 s."""
    home = tmp_path / "home é"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("SHOPLAB_HOME", str(home))
    monkeypatch.setenv("SHOPLAB_GRACE", "0.5")
    yield home
    stop_stack(home)
