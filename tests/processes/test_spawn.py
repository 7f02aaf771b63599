"""A child is the same, whether it is forked or a fresh interpreter, and leaves nothing behind."""

from __future__ import annotations

import atexit
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from children import ORPHANS, fork_servers, forks

from shoplab.environment import for_processes
from shoplab.errors import ProcessError
from shoplab.families import is_halted
from shoplab.processes import child, spawn
from shoplab.stack.leftovers import runs


@pytest.fixture(autouse=True)
def _forks_where_nothing_else_is_said(monkeypatch):
    monkeypatch.delenv("SHOPLAB_FORK", raising=False)


@pytest.fixture
def server(lab):
    """The fork server of this process."""
    lab.run(int).wait()
    (server,) = fork_servers(psutil.Process())
    return server


def app():
    async def application(scope, receive, send):
        raise AssertionError

    return application


def test_a_child_has_the_files_that_it_was_given_and_no_other(way, lab):
    def files():
        links = list(Path("/proc/self/fd").iterdir())  # one of them is for this list
        return sorted(str(link.readlink()) for link in links if link.exists())

    if sys.platform != "linux":
        pytest.skip("no list of open files")
    lab.serve(app)
    lab.run(time.sleep, 60)
    worker = lab.run(files)
    null, one, two, lifeline = worker.result()
    assert (null, one, two) == ("/dev/null", str(worker.log), str(worker.log))
    assert lifeline.startswith("pipe:")


def test_a_child_begins_as_an_interpreter_does(way, lab):
    def seen():
        main = sys.modules["__main__"]
        return {
            "program": main.__spec__.name,
            "arguments": sys.argv,
            "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "wakeup": signal.set_wakeup_fd(-1),
            "group": os.getpgrp() == os.getpid(),
            "session": os.getsid(0),
            "threads": len(psutil.Process().threads()),
        }

    assert lab.run(seen).result() == {
        "program": "shoplab.processes.child",
        "arguments": [child.__file__],
        "interrupt": True,
        "blocked": [],
        "wakeup": -1,
        "group": True,
        "session": os.getsid(0),
        "threads": 2,  # its own, and the one that awaits our end
    }


def test_a_child_is_where_and_with_what_its_parent_is_now(way, lab, tmp_path, monkeypatch):
    def seen():
        import fresh_from_the_press

        return [
            Path.cwd().name,
            fresh_from_the_press.WORD,
            {
                name: os.environ.get(name)
                for name in ("PLACE", "SHOPLAB_GRACE", "OTEL_SERVICE_NAME")
            },
            time.strftime("%H", time.gmtime(0)) != time.strftime("%H", time.localtime(0)),
            subprocess.check_output(["sh", "-c", "echo $PLACE"], text=True),
        ]

    place = tmp_path / "a place é"
    place.mkdir()
    (place / "fresh_from_the_press.py").write_text("WORD = 'read'")
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delenv("SHOPLAB_GRACE")  # the server has it
    monkeypatch.setenv("PLACE", "counter é")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "another's")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    variables = {"PLACE": "counter é", "SHOPLAB_GRACE": None, "OTEL_SERVICE_NAME": None}
    assert lab.run(seen).result() == ["a place é", "read", variables, True, "counter é\n"]


def test_a_directory_that_is_gone_is_no_obstacle(way, lab, tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    assert lab.run(int).result() == 0


def test_two_children_draw_different_numbers(way, lab):
    def draw():
        import numpy
        from opentelemetry.sdk.trace import RandomIdGenerator

        return [
            random.random(),
            float(numpy.random.default_rng().random()),
            float(numpy.random.random()),
            str(RandomIdGenerator().generate_trace_id()),
        ]

    one, other = (worker.result() for worker in [lab.run(draw), lab.run(draw)])
    assert not set(one) & set(other)


def test_the_end_of_a_child_is_an_interpreters_end(way, lab):
    def leave():
        atexit.register(print, "closed")
        sys.exit(7)

    worker = lab.run(leave)
    assert worker.wait() == 7
    assert worker.log.read_text() == "closed\n"


def test_a_signal_for_what_has_ended_reaches_nobody(way, tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as log:
        held = spawn.start(log.fileno())
    held.stdin.close()  # no order comes, so it ends
    assert (held.wait(30), path.read_text()) == (1, "")
    held.terminate()
    held.kill()
    assert held.wait(0) == held.poll() == 1


def test_a_wait_has_its_time(way, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        held = spawn.start(log.fileno())
    with pytest.raises(subprocess.TimeoutExpired):
        held.wait(0.1)
    held.kill()
    assert held.wait() == -signal.SIGKILL
    assert not psutil.pid_exists(held.pid)
    held.stdin.close()


@forks
def test_fifty_starts_leave_nothing_open(lab, server):
    watched = [psutil.Process(), server]
    before = [process.num_fds() for process in watched]
    for number in range(50):
        worker = lab.run(int)
        worker.kill() if number % 2 else worker.wait()
    lab.until(lambda: [process.num_fds() for process in watched] <= before)
    assert server.children() == []


WITH_ITS_SERVER = """
import psutil
print(psutil.Process(pids[0]).ppid(), *pids, flush=True)
time.sleep(60)
"""


@forks
@pytest.mark.parametrize("to_the_server", [None, signal.SIGSTOP, signal.SIGKILL])
def test_server_and_children_end_with_a_parent_that_is_killed(lab, to_the_server):
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANS + WITH_ITS_SERVER], stdout=subprocess.PIPE, text=True
    )
    all_of_it = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    server, halted, _ = all_of_it
    assert server.ppid() == parent.pid and halted.status() == psutil.STATUS_STOPPED
    try:
        if to_the_server is not None:
            server.send_signal(to_the_server)
        if to_the_server is signal.SIGSTOP:  # what halts only after our end, nobody would wake
            lab.until(lambda: is_halted(server.pid))
        parent.kill()
        parent.wait()
        lab.until(lambda: not any(map(runs, all_of_it)))
    finally:
        for process in all_of_it:
            if runs(process):
                process.kill()
        parent.stdout.close()


@forks
def test_a_server_that_is_killed_takes_its_children_along_and_is_replaced(lab, server):
    worker = lab.run(time.sleep, 60)
    service = lab.serve(app)
    before = psutil.Process(worker.pid)
    server.kill()
    with pytest.raises(ProcessError, match="sleep was ended by SIGKILL"):
        lab.until(lambda: not worker.alive) and worker.stop()
    assert not runs(before)
    service.restart()  # by the ordinary way, which needs no server
    assert psutil.Process(service.pid).ppid() == os.getpid()
    (new,) = lab.until(lambda: lab.run(int).wait() == 0 and fork_servers(psutil.Process()))
    assert new != server and lab.run(os.getppid).result() == new.pid


def run(program, **variables):
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=for_processes(os.environ) | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


WHOSE = """
import os
from shoplab import Lab
with Lab("whose", traced=False) as lab:
    print(*(lab.run(os.getppid).result() == os.getpid() for _ in range(2)))
"""


@forks
def test_a_server_with_a_second_thread_forks_nothing(lab, tmp_path):
    assert run(WHOSE) == ["False", "False"]
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    assert run(WHOSE, PYTHONPATH=str(tmp_path)) == ["True", "True"]


@forks
def test_a_server_that_cannot_start_is_done_without(lab, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif sys.orig_argv[-1].isdigit():\n    os._exit(3)\n"
    )
    assert run(WHOSE, PYTHONPATH=str(tmp_path)) == ["True", "True"]


def test_a_variable_that_counts_at_the_start_alone_counts(way, lab, monkeypatch):
    hashed = [sys.executable, "-c", "print(hash('order'))"]
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    expected = int(subprocess.check_output(hashed))
    assert lab.run(hash, "order").result() == expected


FORKED_PARENT = """
import os
from shoplab import Lab
with Lab("first", traced=False) as lab:
    server = lab.run(os.getppid).result()
    if not os.fork():
        with Lab("second", traced=False) as other:
            print(other.run(os.getppid).result() not in (server, os.getppid()), flush=True)
        os._exit(0)
    os.wait()
    print(lab.run(os.getppid).result() == server)
"""


@forks
def test_a_fork_of_the_parent_has_a_server_of_its_own(lab):
    assert run(FORKED_PARENT) == ["True", "True"]
