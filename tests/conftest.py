"""Homes that no test shares with the reader's own stack, no process left at the end, the marks."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from marks import STARTERS, started

from shoplab.locks import exclusive
from shoplab.servers.external import KAFKA_OPTIONS, VARIABLES
from shoplab.stack.lease import find_lease, supervisors
from shoplab.stack.leftovers import left_behind
from shoplab.stack.wire import Down
from shoplab.waiting import until

STARTED_BEFORE = pytest.StashKey[int]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the mark to whatever uses a fixture that starts a server."""
    for item in items:
        if STARTERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Count what was started before the fixtures of a test, which may be its module's."""
    item.stash[STARTED_BEFORE] = len(started)


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
def _stack_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One stack for all tests that use one and do not break it, in a home of its own."""
    home = tmp_path_factory.mktemp("home")
    # A shell that runs us in the background lets all its children ignore Ctrl+C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPLAB_HOME", str(home))
        patch.setenv("SHOPLAB_GRACE", "60")
        for variable in (*VARIABLES.values(), *KAFKA_OPTIONS):
            patch.delenv(variable, raising=False)
        yield
    stop_stack(home)


@pytest.fixture(scope="session")
def _home_where_nothing_starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quiet")


@pytest.fixture(autouse=True)
def _whoever_starts_a_server_has_the_mark(
    request: pytest.FixtureRequest, _home_where_nothing_starts: Path
) -> Iterator[None]:
    """A test without the mark finds no stack that runs, and fails if it starts anything."""
    if request.node.get_closest_marker("server"):
        yield
        return
    before = request.node.stash[STARTED_BEFORE]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPLAB_HOME", str(_home_where_nothing_starts))
        patch.setenv("SHOPLAB_FORK", "off")  # a lab alone would start the fork server
        yield
    # What a child of the test has started shows in the home: a stack's log, a lab's directory.
    left = [
        *_home_where_nothing_starts.glob("supervisor.log"),
        *_home_where_nothing_starts.glob("runs"),
    ]
    if left:
        stop_stack(_home_where_nothing_starts)
        shutil.rmtree(_home_where_nothing_starts)
        _home_where_nothing_starts.mkdir()
    assert not left and not started[before:], "a test without the mark `server` started one"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for this test alone, whose path holds a space and an 'é'; the grace is 0.5 s."""
    home = tmp_path / "home é"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("SHOPLAB_HOME", str(home))
    monkeypatch.setenv("SHOPLAB_GRACE", "0.5")
    yield home
    stop_stack(home)
