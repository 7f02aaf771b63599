"""The start of every kind of server is heard, so that none is without the mark ``server``."""

from __future__ import annotations

from collections.abc import Callable

from marks import started

from shoplab.servers.server import Startable


def test_the_start_of_every_kind_is_heard(kind: str, make_server: Callable[..., Startable]) -> None:
    before = len(started)
    make_server(kind).start()
    assert len(started) > before
