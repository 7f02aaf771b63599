"""Notebooks run on servers that exist, with their own defaults: plain, and with TLS and passwords.

A few of them are run each time. All of them, half an hour, where somebody asks for it:
``SHOPLAB_ORDINARY=all python -m pytest tests/servers/test_ordinary.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import ordinary
import pytest
from certificates import make_certificate
from checkout import CHECKOUT
from strangers import open_folder

from shoplab import Lab
from shoplab.servers.kinds import SHARED

NOTEBOOKS = sorted(path.stem for path in (CHECKOUT / "notebooks").glob("*.ipynb"))

EACH_TIME = {
    "plain": ["04-5-read-your-own-order"],
    "secured": ["04-5-read-your-own-order"],
}
"""A short one, which uses Kafka, Redis and PostgreSQL."""

NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600")


def cases() -> list[tuple[str, str]]:
    everything = os.environ.get("SHOPLAB_ORDINARY") == "all"
    return [
        (manner, notebook)
        for manner, few in EACH_TIME.items()
        for notebook in (NOTEBOOKS if everything else few)
    ]


@contextmanager
def running(manner: str) -> Iterator[dict[str, str]]:
    """The three servers, and the variables that name them."""
    with open_folder() as home:  # PostgreSQL runs as another user than root
        certificate = make_certificate(home) if manner == "secured" else None
        servers = [
            ordinary.OrdinaryKafka(home / "kafka", certificate),
            ordinary.OrdinaryRedis(home / "redis", certificate),
            ordinary.OrdinaryPostgres(home / "postgres", certificate),
        ]
        try:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda server: server.start(), servers))
            yield {k: v for server in servers for k, v in server.variables().items()}
        finally:
            for server in servers:
                server.stop()


@pytest.fixture(scope="module")
def variables() -> Iterator[Callable[[str], dict[str, str]]]:
    """What names servers of a manner, which run from the first question to the last test."""
    if absent := ordinary.missing():
        pytest.skip(f"not installed: {', '.join(absent)}")
    with ExitStack() as servers:
        yield cache(lambda manner: servers.enter_context(running(manner)))


@pytest.mark.parametrize(("manner", "notebook"), cases())
def test_a_notebook_runs_on_ordinary_servers(
    variables: Callable[[str], dict[str, str]], manner: str, notebook: str, home: Path
) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *NBVAL, f"notebooks/{notebook}.ipynb"],
        cwd=CHECKOUT,
        env=os.environ | variables(manner) | {"SHOPLAB_GRACE": "60"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:]
    # Private ones are local everywhere, and keep a supervisor running until the grace is over.
    local = [kind for kind in SHARED if (home / "servers" / kind).exists()]
    assert local == [], "a local server was started that is external"


@pytest.mark.server
def test_a_consumer_gets_the_shortest_session_that_an_ordinary_kafka_allows(
    variables: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables("plain").items():
        monkeypatch.setenv(name, value)
    with Lab("test", traced=False) as lab:
        assert lab.session_timeout(1500) == 6000
        assert lab.session_timeout(9000) == 9000
