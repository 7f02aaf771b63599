"""A lab whose processes are gone when the test ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shoplab import Lab


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("SHOPLAB_PROGRESS", "off")
    with Lab("test", traced=False) as lab:
        yield lab
