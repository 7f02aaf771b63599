"""However users come, go and die: one stack, none too few, and nothing left in the end."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
import redis

from shoplab.errors import DeadlineError, LabError, ServerError
from shoplab.locks import exclusive
from shoplab.paths import socket_directory
from shoplab.stack import Stack
from shoplab.stack.lease import _launch, find_lease, open_lease, supervisors
from shoplab.stack.leftovers import left_behind
from shoplab.waiting import until

SERVERS_STOP = 20.0
"""Seconds within which a stack is gone; the grace here is half a second."""

USE_REDIS = """
import signal, sys
from shoplab.stack import Stack
stack = Stack()
print(stack.redis_url, flush=True)
signal.pause()
"""


def start_user(script: str = USE_REDIS, **environment: str) -> subprocess.Popen[str]:
    """Another process that uses the stack."""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def first_line(user: subprocess.Popen[str]) -> str:
    assert user.stdout is not None
    return user.stdout.readline().strip()


def end(user: subprocess.Popen[str], number: int = signal.SIGKILL) -> str:
    """End a user; returns what it said on stderr."""
    user.send_signal(number)
    return user.communicate(timeout=10)[1]


def pid_of(stack: Stack, kind: str = "redis") -> int:
    status = stack.status()
    assert status is not None
    return int(status["servers"][kind]["pids"][0])


def gone(home: Path) -> bool:
    return not supervisors(home) and not left_behind(home)


def test_nothing_starts_before_the_first_use(home: Path) -> None:
    with Stack() as stack:
        assert stack.status() is None
        assert gone(home)


def test_whoever_starts_a_supervisor_may_be_slow_to_come_in(home: Path) -> None:
    with exclusive(home / "start.lock", 1) as starting:
        _launch(home, starting)
    time.sleep(1.5)  # more than the grace: a busy machine
    lease = find_lease(home)
    assert lease is not None
    lease.close()


def test_the_owner_killed_by_sigkill_leaves_nothing(home: Path) -> None:
    owner = start_user()
    assert first_line(owner).startswith("redis://")
    assert left_behind(home)
    end(owner, signal.SIGKILL)
    until(lambda: gone(home), SERVERS_STOP)
    assert not (home / "servers").exists()
    assert (home / "logs" / "redis.log").read_text()


def test_one_of_two_users_leaves_and_the_stack_stays(home: Path) -> None:
    first = start_user()
    with Stack() as second:
        url = second.redis_url
        assert first_line(first) == url
        assert (second.status() or {})["leases"] == 1
        end(first)
        until(lambda: (second.status() or {}).get("leases") == 0)
        with pytest.raises(DeadlineError):  # three times the grace
            until(lambda: gone(home), timeout=1.5)
        assert redis.Redis.from_url(url).ping()


def test_two_starts_at_once_give_one_stack(home: Path) -> None:
    users = [start_user() for _ in range(4)]
    urls = {first_line(user) for user in users}
    assert len(urls) == 1
    assert len(supervisors(home)) == 1
    assert len(left_behind(home)) == 1
    for user in users:
        end(user)
    until(lambda: gone(home), SERVERS_STOP)


def test_threads_of_one_process_share_a_stack(home: Path) -> None:
    urls: set[str] = set()
    stacks = [Stack() for _ in range(4)]
    threads = [threading.Thread(target=lambda s=s: urls.add(s.redis_url)) for s in stacks * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 1
    assert len(supervisors(home)) == 1
    for stack in stacks:
        stack.close()


def test_a_supervisor_whose_starter_was_interrupted_is_the_next_ones(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def run(command: list[str], timeout: float, **options: Any) -> NoReturn:
        started.append(subprocess.Popen(command, **options))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", run)
        with pytest.raises(KeyboardInterrupt):
            open_lease(home)
    with Stack() as stack:
        assert redis.Redis.from_url(stack.redis_url).ping()
        assert len(supervisors(home)) == 1
    assert started[0].communicate()[1] == ""
    until(lambda: gone(home), SERVERS_STOP)
    assert (home / "supervisor.log").read_text().count("serving") == 1


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.3, 0.6])
def test_ctrl_c_during_a_start_leaves_nothing_half_started(home: Path, delay: float) -> None:
    user = start_user("print('go', flush=True)" + USE_REDIS)
    first_line(user)
    with suppress(subprocess.TimeoutExpired):
        user.wait(delay)
    end(user, signal.SIGINT)
    with Stack() as stack:  # and the next start works
        assert redis.Redis.from_url(stack.redis_url).ping()
        assert len(supervisors(home)) == 1
    until(lambda: gone(home), SERVERS_STOP)


def test_after_ctrl_c_the_next_answer_is_not_that_of_the_interrupted_request(home: Path) -> None:
    user = start_user(
        "import signal\n"
        "from shoplab.stack import Stack\n"
        "stack = Stack()\n"
        "stack.redis_url\n"
        "signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "try:\n"
        "    stack.database_url\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
        "print(stack.redis_url, stack.database_url)\n"
    )
    said, complaint = user.communicate(timeout=60)
    assert said.startswith("interrupted\nredis://"), complaint
    assert " postgresql+psycopg://" in said


def test_ctrl_c_does_not_reach_the_servers(home: Path) -> None:
    user = start_user()
    url = first_line(user)
    with Stack() as stack:
        assert stack.redis_url == url
        supervisor = psutil.Process(supervisors(home)[0])
        sessions = {os.getsid(p.pid) for p in (supervisor, *left_behind(home))}
        assert os.getsid(0) not in sessions
        end(user, signal.SIGINT)
        assert redis.Redis.from_url(url).ping()


def test_ctrl_c_during_a_stop_still_stops(home: Path) -> None:
    with Stack() as stack:
        assert stack.redis_url
    stop = subprocess.Popen([sys.executable, "-m", "shoplab.cli", "down"], start_new_session=True)
    with suppress(subprocess.TimeoutExpired):
        stop.wait(0.4)
    if stop.poll() is None:
        os.killpg(stop.pid, signal.SIGINT)
    stop.wait(10)
    until(lambda: gone(home), SERVERS_STOP)


def test_a_user_is_told_which_servers_it_has_used_and_of_none_once_they_have_gone(
    home: Path,
) -> None:
    with Stack(home) as stack, Stack(home) as other:
        assert stack.programs() == []
        assert stack.redis_url and other.database_url
        (program,) = stack.programs()
        assert program.startswith(("Redis", "Valkey"))
        os.kill(supervisors(home)[0], signal.SIGTERM)
        until(lambda: stack.programs() == [])


def test_the_servers_of_a_killed_supervisor_are_swept_by_the_next(home: Path) -> None:
    with Stack() as stack:
        url, database = stack.redis_url, stack.database_url
        orphans = [pid_of(stack, "redis"), pid_of(stack, "postgres")]
        os.kill(supervisors(home)[0], signal.SIGKILL)
        with pytest.raises(ServerError, match="supervisor of the local servers has gone"):
            until(lambda: stack.redis_url == "", timeout=5)
    assert all(psutil.pid_exists(pid) for pid in orphans)
    with Stack() as stack:
        assert stack.redis_url != url
        assert stack.database_url == database
        assert not set(orphans) & {p.pid for p in left_behind(home)}
        assert len(left_behind(home)) == 2


def test_a_server_that_dies_is_reported_once_and_then_started_anew(home: Path) -> None:
    with Stack() as stack:
        assert stack.redis_url
        before = pid_of(stack)
        os.kill(before, signal.SIGKILL)
        with pytest.raises(ServerError) as caught:
            until(lambda: stack.redis_url == "", timeout=5)
        assert "redis died, and nobody had asked it to (exit status -9)" in str(caught.value)
        assert "Ready to accept connections" in str(caught.value)
        assert "Next: run the cell again" in str(caught.value)
        assert redis.Redis.from_url(stack.redis_url).ping()
        assert pid_of(stack) != before


def test_a_private_cluster_can_be_broken_and_ends_with_its_lease(home: Path) -> None:
    with Stack() as stack:
        cluster = stack.cluster(brokers=3)
        assert cluster.brokers == [1, 2, 3]
        assert len(cluster.kafka["bootstrap_servers"].split(",")) == 3
        before = cluster.pid(2)
        cluster.kill(2)
        assert not cluster.alive(2)
        assert cluster.alive(1)
        cluster.restart(2)
        assert cluster.pid(2) not in (None, before)
        with pytest.raises(ServerError, match="no server 4; it has \\[1, 2, 3\\]"):
            cluster.kill(4)
        assert len(left_behind(home)) == 3
    with Stack() as other:
        until(lambda: not left_behind(home), SERVERS_STOP)
        assert other.redis_url
        until(lambda: not list((home / "servers").glob("cluster-*")))


def test_a_private_cluster_can_be_stopped_early(home: Path) -> None:
    with Stack() as stack:
        cluster = stack.cluster(brokers=1)
        cluster.stop()
        cluster.stop()
        assert left_behind(home) == []
        with pytest.raises(ServerError, match="it has been stopped"):
            cluster.kill(1)


def test_a_private_cluster_of_a_killed_owner_ends(home: Path) -> None:
    with Stack() as other:
        assert other.redis_url
        owner = start_user(USE_REDIS.replace("stack.redis_url", "stack.cluster(1).pid(1)"))
        broker = int(first_line(owner))
        assert psutil.pid_exists(broker)
        end(owner)
        until(lambda: not psutil.pid_exists(broker), SERVERS_STOP)


def test_a_private_postgres_ends_with_its_lease(home: Path) -> None:
    with Stack() as stack:
        mine, other = stack.private("postgres"), stack.private("postgres", max_connections=5)
        assert mine.url != other.url and mine.program.startswith("PostgreSQL")
        other.stop()
        other.stop()
        assert [process.name() for process in left_behind(home)].count("postgres") > 0
    with Stack() as later:
        until(lambda: not left_behind(home), SERVERS_STOP)
        assert later.redis_url
        until(lambda: not list((home / "servers").glob("postgres-*")))


def test_a_kafka_that_dies_is_reported_and_started_anew(home: Path) -> None:
    with Stack() as stack:
        assert stack.kafka
        os.kill(pid_of(stack, "kafka"), signal.SIGKILL)
        with pytest.raises(ServerError, match="kafka died"):
            until(lambda: stack.kafka == {}, timeout=5)
        assert stack.kafka["bootstrap_servers"]


def test_a_forked_child_does_not_hold_the_lease(home: Path) -> None:
    user = start_user(
        "import os, signal\n"
        "from shoplab.stack import Stack\n"
        "stack = Stack()\n"
        "stack.redis_url\n"
        "child = os.fork()\n"
        "if child:\n"
        "    print(child, flush=True)\n"
        "signal.pause()\n"
    )
    child = int(first_line(user))
    try:
        user.kill()
        until(lambda: gone(home), SERVERS_STOP)
        assert psutil.pid_exists(child)
    finally:
        os.kill(child, signal.SIGKILL)
        user.communicate(timeout=10)


def test_a_lease_used_in_a_forked_child_says_so(home: Path) -> None:
    user = start_user(
        "import os\n"
        "from shoplab.stack import Stack\n"
        "stack = Stack()\n"
        "stack.redis_url\n"
        "if os.fork() == 0:\n"
        "    stack.redis_url\n"
        "else:\n"
        "    os.wait()\n"
    )
    said = user.communicate(timeout=20)[1]
    assert "belongs to the process that opened it" in said


def test_a_home_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError) as caught, Stack(tmp_path / "file" / "home") as stack:
        assert stack.redis_url
    assert "cannot write its state" in caught.value.what
    assert "SHOPLAB_HOME" in caught.value.next_step


@pytest.mark.server
def test_a_long_home_has_short_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path.joinpath(*["a long directory name with an é"] * 6)
    deep.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it remembers its first answer
    assert len(os.fsencode(deep)) > 200
    with Stack(deep) as stack:
        assert redis.Redis.from_url(stack.redis_url).ping()
        assert stack.database_url
        assert len(os.fsencode(next(socket_directory(deep).glob("*/.s.PGSQL.5432")))) <= 104
        supervisor = psutil.Process(supervisors(deep)[0])
        supervisor.terminate()
    until(lambda: gone(deep), SERVERS_STOP)


def test_every_directory_is_the_users_alone(home: Path) -> None:
    with Stack() as stack:
        assert stack.redis_url
        assert stack.database_url
        modes = {}
        for top in (home, socket_directory(home)):
            modes[top] = stat.S_IMODE(top.stat().st_mode)
            for directory, _, _ in os.walk(top):  # passes over what a server deletes meanwhile
                with suppress(FileNotFoundError):
                    modes[Path(directory)] = stat.S_IMODE(Path(directory).stat().st_mode)
        assert set(modes.values()) == {0o700}, modes


def test_a_supervisor_asked_to_end_stops_its_servers(home: Path) -> None:
    with Stack() as stack:
        assert stack.redis_url
        os.kill(supervisors(home)[0], signal.SIGTERM)
        until(lambda: gone(home), SERVERS_STOP)
