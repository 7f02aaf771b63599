"""Servers of a test's own, in a directory whose path is a hard one; they end with the test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from shoplab.paths import socket_directory
from shoplab.servers import postgres, rabbitmq, redis, unprivileged
from shoplab.servers.kinds import make
from shoplab.servers.server import Startable
from shoplab.stack.leftovers import left_behind

Make = Callable[..., Startable]


@pytest.fixture(params=["kafka", "redis", "postgres", "rabbitmq"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server that can be started here, one after another."""
    if request.param == "rabbitmq" and not rabbitmq.installed():
        pytest.skip("no rabbitmq-server on the path")
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """The home of the servers, whose path holds a space and an 'é'; none of them outlives it."""
    place = tmp_path / "é home"
    yield place
    # Erlang's helper ends by itself, a moment after the machine that started it.
    _, left = psutil.wait_procs(left_behind(place), timeout=5)
    for process in left:
        process.kill()
    shutil.rmtree(socket_directory(place), ignore_errors=True)
    assert not left, f"servers that nobody stopped: {left}"


@pytest.fixture
def make_server(place: Path) -> Iterator[Make]:
    """Makes a server of a kind, not started yet; it is stopped in the end."""
    made: list[Startable] = []

    def one(kind: str, **options: int) -> Startable:
        made.append(make(kind, place / kind, place, **options))
        return made[-1]

    yield one
    for server in made:
        server.stop()


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """What programs have said of themselves is forgotten before the test and after it."""
    answers = (
        redis.survey,
        postgres.version,
        rabbitmq.version,
        rabbitmq.script,
        unprivileged._first_that_works,
    )
    for answer in answers:
        answer.cache_clear()
    yield
    for answer in answers:
        answer.cache_clear()
