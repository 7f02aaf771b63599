"""A stack whose surroundings turn against it: a socket removed, a supervisor that stands still."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from shoplab import cli
from shoplab.commands import commands
from shoplab.errors import ServerError
from shoplab.families import is_halted
from shoplab.locks import exclusive
from shoplab.paths import private_socket_directory, socket_directory
from shoplab.stack import Stack, lease
from shoplab.stack.lease import socket_path, supervisors
from shoplab.stack.leftovers import left_behind
from shoplab.stack.wire import VERSION, Channel, UseShared
from shoplab.waiting import until


def shoplab(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run the command; its exit status and all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", "shoplab.cli", *arguments],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


@pytest.fixture
def deep_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose path is too long for sockets, so that they are below /tmp."""
    deep = home / ("deep" * 30)
    monkeypatch.setenv("SHOPLAB_HOME", str(deep))
    assert socket_directory(deep).parent.parent == Path("/tmp")
    yield deep
    for pid in supervisors(deep):
        os.kill(pid, signal.SIGTERM)
    until(lambda: not supervisors(deep) and not left_behind(deep), 20)


# -- the sockets' directory is cleaned ------------------------------------------------------------


def test_a_supervisor_whose_socket_is_removed_makes_it_again(deep_home: Path) -> None:
    with Stack() as stack:
        url = stack.redis_url
        shutil.rmtree(socket_directory(deep_home))
        until(socket_path(deep_home).exists)
        with Stack() as newcomer:
            assert newcomer.redis_url == url
        assert len(supervisors(deep_home)) == 1


def test_a_postgres_whose_socket_is_removed_is_told_of_and_started_anew(deep_home: Path) -> None:
    with Stack() as stack:
        assert stack.database_url
        shutil.rmtree(socket_directory(deep_home))
        with pytest.raises(ServerError, match="socket has been removed"):
            stack.use("postgres")
        with create_engine(stack.database_url).connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1


def test_a_supervisor_in_another_tmp_is_found_by_doctor_and_ended_by_down(
    deep_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a private /tmp: its own socket is where it was, and we see another one's place."""
    # A user of that number would have another place below /tmp; each tester has one of its own.
    hidden = f"import os; os.getuid = lambda: {os.getuid() + 100_000}; "
    hidden += "from shoplab.cli import main; main()"

    def from_there(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", hidden, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    with Stack() as stack:
        assert stack.redis_url
        status, said = from_there("doctor")
        assert status == 1 and "runs out of reach" in said and "shoplab down" in said
        assert from_there("down") == (
            0,
            "Stopped a supervisor that could not be reached, and its servers.\n",
        )
    assert not supervisors(deep_home) and not left_behind(deep_home)
    with Stack() as stack:
        assert redis.Redis.from_url(stack.redis_url).ping()


def test_a_home_that_another_container_uses_is_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stack() as stack:
        assert stack.redis_url
        with monkeypatch.context() as patch:
            patch.setattr(lease, "network", lambda: "net:[another]")
            with Stack() as other, pytest.raises(ServerError, match="another container") as caught:
                assert other.redis_url
        assert "SHOPLAB_HOME" in caught.value.next_step


def test_a_lock_that_is_held_out_of_sight_is_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoplab.commands.STOP_TIMEOUT", 0.1)
    with exclusive(home / "supervisor.lock", 1):
        answer = CliRunner().invoke(commands, ["down"])
    assert isinstance(answer.exception, ServerError)
    assert "cannot be seen from here" in answer.exception.what


# -- a supervisor that stands still ---------------------------------------------------------------


@pytest.fixture
def stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The pid of a supervisor that runs a Redis and is halted."""
    monkeypatch.setattr(lease, "ANSWER_TIMEOUT", 1.0)
    with Stack() as stack:
        assert stack.redis_url
        (pid,) = supervisors(home)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: is_halted(pid))  # its threads work on for a while after the signal
        yield pid
        if pid in supervisors(home):
            os.kill(pid, signal.SIGCONT)


def test_a_stopped_supervisor_is_told_of(home: Path, stopped: int) -> None:
    with Stack() as stack, pytest.raises(ServerError) as caught:
        stack.status()
    assert f"(pid {stopped}) is stopped" in caught.value.what
    assert f"kill -CONT {stopped}" in caught.value.next_step
    for command in ("status", "doctor"):
        status, said = shoplab(command)
        assert status == 1
        assert f"(pid {stopped}) is stopped" in said and "Traceback" not in said


def test_a_supervisor_that_stops_while_it_is_asked_is_told_of(home: Path) -> None:
    with Stack() as stack:
        assert stack.redis_url
        (pid,) = supervisors(home)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: is_halted(pid))  # its threads work on for a while after the signal
        try:
            with pytest.raises(ServerError, match="is stopped: it cannot answer"):
                stack.use("redis")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert redis.Redis.from_url(stack.redis_url).ping()  # and then it goes on


def test_down_ends_a_stopped_supervisor(home: Path, stopped: int) -> None:
    assert shoplab("down")[1].startswith("Stopped a supervisor that could not be reached")
    assert not supervisors(home) and not left_behind(home)


def test_a_supervisor_that_says_nothing_is_given_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "ANSWER_TIMEOUT", 0.2)
    private_socket_directory(home)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(socket_path(home)))
        mute.listen()
        with Stack() as stack, pytest.raises(ServerError, match="does not answer"):
            stack.status()
    socket_path(home).unlink()


def test_another_version_is_told_of(home: Path) -> None:
    private_socket_directory(home)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(socket_path(home)))
        other.listen()
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(str(socket_path(home)))
            answering = other.accept()[0]
        with answering, pytest.raises(ServerError, match=f"97, not {VERSION}"):
            lease._check({"version": 97, "pid": 1, "network": ""})
    socket_path(home).unlink()


# -- errors that nobody foresaw -------------------------------------------------------------------


def test_an_error_that_the_supervisor_did_not_foresee_is_told_and_it_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stack() as stack:
        assert stack.redis_url
        with pytest.raises(ServerError) as caught:
            stack._open().request(UseShared("nonsense"))
        assert "met an error of its own: KeyError('nonsense')" in caught.value.what
        assert caught.value.log == home / "supervisor.log"
        assert "Traceback" in (home / "supervisor.log").read_text()
        assert redis.Redis.from_url(stack.redis_url).ping()


@pytest.mark.parametrize("line", [b"no JSON\n", b"[]\n", b"{}\n"])
def test_what_is_no_message_costs_its_sender_the_connection_and_nobody_else(
    home: Path, line: bytes
) -> None:
    with Stack() as stack:
        url = stack.redis_url
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(socket_path(home)))
            channel = Channel(stranger)
            assert channel.receive(10)
            stranger.sendall(line)
            while channel.receive(10) is not None:
                pass
        assert stack.redis_url == url


def test_a_cluster_of_two_is_refused_before_anything_starts(home: Path) -> None:
    with Stack() as stack:
        with pytest.raises(ServerError, match="one broker or three, not 2"):
            stack.cluster(2)
        assert stack.status() is None


@pytest.mark.parametrize(
    ("variable", "command"),
    [
        *(("HOME", command) for command in ("status", "logs", "down", "setup", "doctor", "up")),
        *(("SHOPLAB_HOME", command) for command in ("status", "logs", "down", "doctor", "up")),
        *(("SHOPLAB_CACHE", command) for command in ("setup", "doctor")),
    ],
)
def test_no_command_ends_in_a_traceback_where_home_cannot_be(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], variable: str, command: str
) -> None:
    for name in ("SHOPLAB_HOME", "SHOPLAB_CACHE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "/dev/null")
    monkeypatch.setattr("sys.argv", ["shoplab", command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = "".join(capfd.readouterr())
    assert ended.value.code == 1
    assert "Traceback" not in said
    assert "cannot be used: Not a directory" in said
    assert "directory that is yours to write" in said


def test_what_no_command_foresaw_is_one_sentence_with_a_log(home: Path) -> None:
    broken = "import shoplab.commands as c; c.Stack.status = lambda _: 1 / 0; "
    broken += "from shoplab.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", broken, "status"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "did not foresee: ZeroDivisionError('division by zero')" in done.stderr
    assert f"with {home / 'errors.log'} and what `shoplab doctor` says" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ZeroDivisionError" in (home / "errors.log").read_text()
