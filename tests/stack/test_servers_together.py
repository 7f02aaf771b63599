"""The three servers of one stack: whom they let in, and what of the surroundings reaches them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis as redis_client
from sqlalchemy import create_engine, text

from shoplab.stack import Stack

pytestmark = pytest.mark.server


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
    modes = {}
    for folder, _, names in os.walk(status["home"]):  # passes over what Kafka deletes meanwhile
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and password.encode() in path.read_bytes():
                    modes[path] = stat.S_IMODE(path.stat().st_mode)
    assert set(modes.values()) == {0o600}, modes


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


def test_variables_for_another_postgres_do_not_reach_the_supervisor(home: Path) -> None:
    """It is a client of its servers; whoever starts it may have a database of their own."""
    others = {
        "PGOPTIONS": "--no_such_option=1",
        "PGSERVICE": "production",
        "PGCHANNELBINDING": "require",
        "PGREQUIREAUTH": "scram-sha-256",
    }
    use = "from shoplab.stack import Stack\nwith Stack() as stack: print(stack.database_url)"
    said = subprocess.run(
        [sys.executable, "-c", use], env=os.environ | others, capture_output=True, text=True
    )
    assert said.stdout.startswith("postgresql+psycopg://"), said.stderr
