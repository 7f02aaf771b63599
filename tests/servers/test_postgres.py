"""PostgreSQL: formatted once, safe from what was left, explained where it does not start."""

from __future__ import annotations

import errno
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, text

from shoplab.errors import ServerError, SetupError
from shoplab.servers import postgres, unprivileged
from shoplab.servers.postgres import Postgres
from shoplab.servers.programs import Unfit
from shoplab.servers.server import Startable
from shoplab.waiting import until

Make = Callable[..., Startable]


def connect(server: Startable) -> psycopg.Connection:
    return psycopg.connect(host=str(server.sockets), user="postgres")


pytestmark = pytest.mark.usefixtures("asked_anew")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which no server has left formatted data yet."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("SHOPLAB_CACHE", str(cache))
    return cache


def fake(directory: Path, name: str, script: str) -> None:
    program = directory / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_its_client_needs_no_variable_and_its_clock_is_utc(make_server: Make) -> None:
    server = make_server("postgres")
    server.start()
    with create_engine(server.settings()["url"]).connect() as connection:
        assert connection.execute(text("SHOW timezone")).scalar() == "UTC"


def test_two_of_one_home_have_a_socket_each(place: Path) -> None:
    first, second = (Postgres(place / name / "postgres", place) for name in ("a", "b"))
    try:
        first.start()
        second.start()
        with connect(first) as connection:
            connection.execute("CREATE TABLE here (a int)")
        with connect(second) as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM here")
    finally:
        first.stop()
        second.stop()


def test_postgres_stops_although_a_client_is_connected(make_server: Make) -> None:
    server = make_server("postgres")
    server.start()
    client = connect(server)
    server.stop_timeout = 1e6
    server.stop()
    client.close()
    assert server.process.returncode == 0


def test_what_is_committed_survives_a_crash(make_server: Make) -> None:
    server = make_server("postgres")
    server.start()
    with connect(server) as connection:
        connection.execute("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    server.kill()
    server.start()
    with connect(server) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1000,)


# -- formatted once -------------------------------------------------------------------------------


def test_data_are_formatted_once_and_copied_ever_after(
    make_server: Make, place: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_server("postgres").start()
    (template,) = empty_cache.iterdir()
    assert template.name.startswith(postgres.version().lower().replace(" ", "-"))
    assert stat.S_IMODE(template.stat().st_mode) == 0o700
    assert "wal_level = logical" not in (template / "postgresql.conf").read_text()

    monkeypatch.setattr(unprivileged, "of_initdb", lambda: pytest.fail("it ran initdb"))
    second = Postgres(place / "second", place)
    try:
        second.start()
        with connect(second) as connection:
            assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
    finally:
        second.stop()
    monkeypatch.setattr(postgres, "version", lambda: "PostgreSQL 99.9")
    assert not postgres._template().exists()


@pytest.mark.parametrize("failing", ["copytree", "ask"])
def test_a_template_is_whole_or_not_there(
    make_server: Make, empty_cache: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fails(*_: object) -> None:
        raise Unfit if failing == "ask" else OSError(errno.ENOSPC, "No space left on device")

    postgres.version()  # asks, too
    monkeypatch.setattr(shutil if failing == "copytree" else postgres, failing, fails)
    make_server("postgres").start()
    assert list(empty_cache.iterdir()) == []


def test_a_template_that_is_not_ours_to_read_is_passed_over(
    make_server: Make, empty_cache: Path
) -> None:
    empty_cache.mkdir()
    postgres._template().write_text("no directory")
    make_server("postgres").start()


def test_half_formatted_data_are_formatted_again(make_server: Make) -> None:
    server = make_server("postgres")
    unfinished = server.directory / "unfinished" / "base"
    unfinished.mkdir(parents=True)
    (unfinished / "1").write_text("half")
    server.start()
    assert not (server.directory / "unfinished").exists()


def test_a_format_that_fails_shows_what_initdb_said(
    make_server: Make, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, "initdb", "echo could not write: No space left on device; exit 1")
    fake(tmp_path, "postgres", "echo postgres \\(PostgreSQL\\) 18.4")
    monkeypatch.setattr(postgres, "binaries", lambda: tmp_path)
    with pytest.raises(ServerError) as refusal:
        make_server("postgres").start()
    assert "PostgreSQL's data cannot be formatted (initdb: 1)." in str(refusal.value)
    assert "No space left on device" in str(refusal.value)
    assert "free some space on the disk" in refusal.value.next_step


def test_a_postgres_that_does_not_run_here_is_refused_in_its_own_words(
    make_server: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, "postgres", "echo \"libc.so.6: version 'GLIBC_9.99' not found\"; exit 1")
    monkeypatch.setattr(postgres, "binaries", lambda: tmp_path)
    for ask in (postgres.version, make_server("postgres").start):
        with pytest.raises(SetupError, match=r"'GLIBC_9\.99' not found") as refusal:
            ask()
        assert "DATABASE_URL" in refusal.value.next_step


# -- locks ----------------------------------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user who runs the server, and no server of ours."""
    sleeps = [*unprivileged.of_server().prefix, "sleep", "60"]
    with subprocess.Popen(sleeps) as stranger:
        until(lambda: psutil.Process(stranger.pid).name() == "sleep")
        yield stranger
        assert stranger.poll() is None  # nobody has signalled it
        stranger.kill()


@pytest.mark.parametrize("cut_off", [False, True])
def test_a_lock_of_a_dead_server_whose_pid_a_stranger_has_is_no_obstacle(
    make_server: Make, stranger: subprocess.Popen[bytes], cut_off: bool
) -> None:
    """As after a power cut: the lock names a process that lives, or was not written to its end."""
    server = make_server("postgres")
    server.start()
    server.kill()
    for lock in (server.sockets / ".s.PGSQL.5432.lock", server.data / "postmaster.pid"):
        named, _, rest = lock.read_text().partition("\n")
        assert int(named) == server.process.pid
        lock.write_text("" if cut_off else f"{stranger.pid}\n{rest}")
    server.start()
    with connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_data_that_another_server_of_ours_uses_are_refused(make_server: Make) -> None:
    first, second = make_server("postgres"), make_server("postgres")
    first.start()
    with pytest.raises(ServerError) as refusal:
        second.start()
    assert 'lock file "postmaster.pid" already exists' in str(refusal.value)
    with connect(first) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
