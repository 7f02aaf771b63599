"""A lab whose processes are gone when the test ends."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from children import forks

from shoplab import Lab


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("SHOPLAB_PROGRESS", "off")
    with Lab("test", traced=False) as lab:
        yield lab


@pytest.fixture(
    params=[pytest.param("on", id="forked", marks=forks), pytest.param("off", id="fresh")]
)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, lab: Lab) -> str:
    """Each of the two ways in which a child starts; it is seen to be the one."""
    way: str = request.param
    monkeypatch.setenv("SHOPLAB_FORK", way)
    assert (lab.run(os.getppid).result() == os.getpid()) == (way == "off")
    return way
