"""Which kinds of servers there are, and what is refused before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shoplab.errors import ServerError
from shoplab.servers.kafka import cluster
from shoplab.servers.kinds import SHARED, make
from shoplab.servers.server import Startable


def test_every_kind_has_one_shape(
    kind: str, make_server: Callable[..., Startable], place: Path
) -> None:
    made = make_server(kind)
    assert made.directory == place / kind
    made.stop()  # there is nothing to stop yet
    made.start()
    (server,) = made.processes()
    assert server.alive and server.pid
    assert made.program().startswith(("Apache Kafka 4", "Redis", "Valkey", "PostgreSQL", "Rabbit"))
    (address,) = made.settings().values()
    assert "127.0.0.1" in address or "host=" in address
    assert kind in (*SHARED, "rabbitmq")


@pytest.mark.parametrize(
    ("kind", "options", "reason", "step"),
    [
        ("mysql", {}, "no server of the kind 'mysql'", "kafka, redis, postgres"),
        ("redis", {"brokers": 3}, "'redis' has no such option: .*'brokers'", "leave"),
        ("postgres", {"sockets": "pg"}, "'postgres' has no such option", "leave"),
        ("kafka", {"brokers": 2}, "has one broker or three here, not 2", "ask for three"),
        ("kafka", {"brokers": "3"}, "has one broker or three here, not '3'", "ask for three"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_done(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: dict[str, Any],
    reason: str,
    step: str,
) -> None:
    monkeypatch.setattr(cluster, "set_up", lambda: pytest.fail("it set up Kafka"))
    with pytest.raises(ServerError, match=reason) as refusal:
        make(kind, place / kind, place, **options)
    assert step in refusal.value.next_step
    assert not place.exists()
