"""What all servers have in common: a start, an end, a halt, and surroundings that are hostile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from shoplab.errors import ServerError
from shoplab.servers import rabbitmq
from shoplab.servers.kafka.broker import Broker
from shoplab.servers.postgres import Postgres
from shoplab.servers.rabbitmq import RabbitMQ
from shoplab.servers.redis import Redis
from shoplab.servers.server import MARK, NotReady, Server, Startable
from shoplab.waiting import until

Make = Callable[..., Startable]

CLASSES: dict[str, type[Server]] = {
    "kafka": Broker,
    "redis": Redis,
    "postgres": Postgres,
    "rabbitmq": RabbitMQ,
}

has_rabbitmq = pytest.mark.skipif(not rabbitmq.installed(), reason="no rabbitmq-server on the path")

DAY_JOB = {
    "LD_PRELOAD": "/nowhere/lib.so",
    "CLASSPATH": "/nowhere",
    "KAFKA_OPTS": "-XX:NoSuchFlag",
    "KAFKA_HEAP_OPTS": "-Xmx1",
    "JAVA_TOOL_OPTIONS": "-XX:NoSuchFlag",
    "JDK_JAVA_OPTIONS": "-XX:NoSuchFlag",
    "_JAVA_OPTIONS": "-XX:NoSuchFlag",
    "REDISCLI_AUTH": "guess",
    "PGHOST": "nowhere.invalid",
    "PGPORT": "1",
    "PGDATA": "/nowhere",
    "PGUSER": "somebody",
    "ERL_FLAGS": "-no_such_flag +no",
    "ERL_AFLAGS": "+no",
    "ERL_LIBS": "/nowhere",
    "ERL_EPMD_PORT": "1",
    "RABBITMQ_NODENAME": "somebody-elses",
    "RABBITMQ_NODE_PORT": "1",
    "RABBITMQ_CONFIG_FILE": "/nowhere",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    "LC_ALL": "xx_YY.UTF-8",
    "TZ": "Mars/Phobos",
}
"""Variables that mean something to a server, a JVM, a loader, and are meant for another."""


@pytest.fixture
def day_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_anew: None) -> None:
    """All these variables, and libraries with which no program starts."""
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for name in ("libc.so.6", "libm.so.6", "libz.so.1"):
        (libraries / name).write_text("no library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(libraries))
    for name, value in DAY_JOB.items():
        monkeypatch.setenv(name, value)
    assert subprocess.run(["true"], stderr=subprocess.DEVNULL).returncode != 0


def test_nothing_that_is_meant_for_other_work_reaches_a_server(
    day_job: None, make_server: Make, kind: str, place: Path
) -> None:
    started = make_server(kind)
    started.start()
    assert started.program()
    for server in started.processes():
        seen = psutil.Process(server.pid).environ()
        assert seen[MARK] == str(place)  # by which a killed supervisor's servers are found
        assert seen["TZ"] == "UTC"
        foreign = {name for name in seen if name in DAY_JOB and seen[name] == DAY_JOB[name]}
        assert not foreign | ({"LD_LIBRARY_PATH"} & set(seen)), foreign


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """The servers' home on a file system of 100 MB of its own."""
    place.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=100m", "none", os.fspath(place)]
    if sys.platform != "linux" or subprocess.run(small, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("left", [0, 200_000, 20_000_000])
def test_a_full_disk_is_what_the_error_says(
    small_disk: Path, make_server: Make, kind: str, left: int
) -> None:
    """A server that gets by with what is left serves."""
    started = make_server(kind)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    with (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(free - left))
    try:
        started.start()
    except ServerError as refusal:
        assert "on the disk, then start again" in refusal.next_step
    else:
        assert left
        assert all(server.alive for server in started.processes())


def test_a_halted_server_stands_still_and_goes_on_or_ends_when_it_is_told(
    make_server: Make, kind: str
) -> None:
    started = make_server(kind)
    started.start()
    (server,) = started.processes()
    process = psutil.Process(server.pid)
    server.halt()
    server.halt()
    members = [process, *process.children(recursive=True)]
    # a child that was about to end may have ended
    still = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    assert process.status() == psutil.STATUS_STOPPED
    assert {member.status() for member in members} <= still
    assert server.alive
    server.resume()
    server.resume()
    assert process.status() != psutil.STATUS_STOPPED
    server.check()
    server.halt()
    server.stop()
    assert server.process.returncode != -signal.SIGKILL  # it went by itself, in good order


def test_a_halted_server_that_is_killed_leaves_no_child(make_server: Make, kind: str) -> None:
    started = make_server(kind)
    started.start()
    (server,) = started.processes()
    process = psutil.Process(server.pid)
    members = [process, *process.children(recursive=True)]
    server.halt()
    server.kill()
    assert server.process.returncode == -signal.SIGKILL
    until(lambda: not any(member.is_running() for member in members))
    with pytest.raises(ServerError, match="does not run, so it cannot be halted"):
        server.halt()
    server.resume()


def test_children_of_a_halted_server_that_somebody_else_kills_end_with_the_stop(
    make_server: Make,
) -> None:
    server = make_server("postgres")
    server.start()
    children = psutil.Process(server.pid).children(recursive=True)
    server.halt()
    server.process.kill()
    server.process.wait()
    assert any(child.is_running() for child in children)
    server.stop()
    until(lambda: not any(child.is_running() for child in children))


def test_nobody_answers_while_a_server_is_halted(make_server: Make) -> None:
    server = make_server("redis")
    server.start()
    server.halt()
    with pytest.raises(NotReady, match="timed out"):
        server.check()
    server.resume()
    server.check()


def test_a_server_that_dies_at_its_start_is_reported_immediately(
    make_server: Make, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said_and_died = ["sh", "-c", "echo last words; exit 7"]
    monkeypatch.setattr(CLASSES[kind], "command", lambda server: said_and_died)
    monkeypatch.setattr(CLASSES[kind], "start_timeout", 1e6)
    with pytest.raises(ServerError, match=r"died at its start \(exit status 7\)") as refusal:
        make_server(kind).start()
    assert "| last words" in str(refusal.value)
    assert "Next: " in str(refusal.value)


def test_a_server_that_never_serves_is_ended_when_the_time_is_up(
    make_server: Make, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CLASSES[kind], "command", lambda server: ["sleep", "60"])
    monkeypatch.setattr(CLASSES[kind], "start_timeout", 0.2)
    with pytest.raises(ServerError, match="did not serve within 0 s"):
        make_server(kind).start()


@pytest.mark.parametrize(
    ("number", "advice"),
    [("KILL", "short of memory"), ("XCPU", "a program's time"), ("XFSZ", "a file's size")],
)
def test_a_server_that_the_system_ends_without_a_word_is_not_blamed(
    make_server: Make, monkeypatch: pytest.MonkeyPatch, number: str, advice: str
) -> None:
    monkeypatch.setattr(Redis, "command", lambda server: ["sh", "-c", f"kill -{number} $$"])
    with pytest.raises(ServerError, match=r"died at its start \(exit status -\d+\)") as refusal:
        make_server("redis").start()
    assert advice in refusal.value.next_step


@pytest.mark.parametrize(
    ("kind", "limit", "advice"),
    [
        ("kafka", "-v 400000", "raise the limit of memory"),
        ("kafka", "-n 64", "raise the limit of open files"),
        ("kafka", "-f 100", "raise the limit of a file's size"),
        ("redis", "-v 20000", "raise the limits of processes and memory"),
        ("redis", "-n 30", "raise the limit of open files"),
        ("postgres", "-v 60000", "raise the limit of memory"),
        ("postgres", "-n 30", "raise the limit of open files"),
        ("postgres", "-f 100", "raise the limit of a file's size"),
        pytest.param("rabbitmq", "-v 1000000", "raise the limit of memory", marks=has_rabbitmq),
        pytest.param("rabbitmq", "-n 20", "raise the limit of open files", marks=has_rabbitmq),
    ],
)
def test_a_limit_of_a_login_node_is_named_in_the_servers_own_words(
    make_server: Make, monkeypatch: pytest.MonkeyPatch, kind: str, limit: str, advice: str
) -> None:
    command = CLASSES[kind].command

    def limited(server: Server) -> list[str]:
        return ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *command(server)]

    monkeypatch.setattr(CLASSES[kind], "command", limited)
    with pytest.raises(ServerError, match="died at its start") as refusal:
        make_server(kind).start()
    assert advice in refusal.value.next_step
    # Redis 7 crashes for want of memory without a word, Redis 6.2 says why.
    assert "  | " in str(refusal.value) or "(exit status -11)" in str(refusal.value)
