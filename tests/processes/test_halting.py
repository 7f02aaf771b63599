"""A process that stands still: what it keeps, what still reaches it, and how it goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import requests
from children import ORPHANS

from shoplab.errors import DeadlineError, ProcessError
from shoplab.stack.leftovers import runs


def count(counter: Path):
    """Count in two threads, until told to stop."""

    def write(thread):
        number = 0
        while True:
            number += 1
            counter.with_name(thread).write_text(str(number))
            time.sleep(0.001)

    threading.Thread(target=write, args=("other",), daemon=True).start()
    try:
        write("main")
    finally:
        counter.with_name("end").write_text("closed")


@pytest.fixture
def counter(tmp_path):
    return tmp_path / "counter"


@pytest.fixture
def worker(lab, counter):
    worker = lab.run(count, counter)
    lab.until(lambda: counts(counter) is not None)
    return worker


def counts(counter):
    """What the threads have counted; None before both have begun."""
    texts = [
        path.read_text() if path.exists() else ""
        for path in (counter.with_name("main"), counter.with_name("other"))
    ]
    return [int(text) for text in texts] if all(texts) else None


def threads_of(worker):
    return [psutil.Process(thread.id) for thread in psutil.Process(worker.pid).threads()]


def test_every_thread_stands_still_when_halt_returns_and_goes_on_when_resume_does(
    lab, worker, counter
):
    assert not worker.halted
    for _ in range(2):  # safe to repeat
        worker.halt()
        states = [thread.status() for thread in threads_of(worker)]
        assert len(states) >= 3 and set(states) == {psutil.STATUS_STOPPED}
        assert worker.halted and worker.alive and not worker.died
    for _ in range(2):
        worker.resume()
        assert psutil.STATUS_STOPPED not in [thread.status() for thread in threads_of(worker)]
        assert not worker.halted

    def increased():
        now = counts(counter)
        return now is not None and all(new > old for new, old in zip(now, before, strict=True))

    lab.until(lambda: counts(counter) is not None)
    before = lab.until(lambda: counts(counter))
    lab.until(increased)


def test_what_halts_itself_is_seen_to_be_halted_and_goes_on(lab):
    def pause():
        os.kill(os.getpid(), signal.SIGSTOP)
        return "went on"

    worker = lab.run(pause)
    lab.until(lambda: worker.halted)
    worker.resume()
    assert worker.result() == "went on"


def test_a_stop_is_polite_to_a_halted_process_too(worker, counter):
    worker.halt()
    worker.stop()
    assert not worker.alive and not worker.died
    assert counter.with_name("end").read_text() == "closed"


def test_a_halted_process_that_will_not_stop_is_killed_after_the_grace(lab, tmp_path):
    def stubborn(notes):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        notes.write_text("begun")
        signal.pause()

    notes = tmp_path / "notes"
    worker = lab.run(stubborn, notes)
    lab.until(notes.exists)
    worker.halt()
    worker.stop(timeout=0.2)
    assert worker.wait() == -signal.SIGKILL


def test_a_kill_ends_a_halted_process_as_a_crash_does(worker, counter):
    worker.halt()
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    assert not counter.with_name("end").exists()


def test_a_restart_begins_anew_and_runs(lab, worker, counter):
    worker.halt()
    first = worker.pid
    worker.restart()
    assert worker.pid != first and not worker.halted and not psutil.pid_exists(first)


def test_the_end_of_the_lab_is_the_end_of_what_is_halted(lab, worker, counter):
    worker.halt()
    pid = worker.pid
    lab.close()
    assert not psutil.pid_exists(pid)
    assert counter.with_name("end").read_text() == "closed"


def test_whoever_waits_for_a_halted_process_is_told_so(worker):
    worker.halt()
    for await_end in (worker.wait, worker.result):
        with pytest.raises(DeadlineError, match=r"count is halted after 0\.1 s") as caught:
            await_end(timeout=0.1)
        assert "Next: let it go on with `.resume()`" in str(caught.value)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_a_worker_has_started_halts_with_it_and_does_not_stay_halted(lab, tmp_path, end):
    def parent(file):
        child = subprocess.Popen(["sleep", "600"])
        try:
            file.write_text(str(child.pid))
            child.wait()
        finally:
            child.terminate()

    file = tmp_path / "child"
    worker = lab.run(parent, file)
    child = psutil.Process(int(lab.until(lambda: file.exists() and file.read_text())))
    worker.halt()
    assert child.status() == psutil.STATUS_STOPPED
    worker.resume()
    assert child.status() != psutil.STATUS_STOPPED
    worker.halt()
    getattr(worker, end)()
    assert worker.wait() == (0 if end == "stop" else -signal.SIGKILL)
    lab.until(lambda: not runs(child))


@pytest.mark.parametrize("wish", ["halt", "resume"])
def test_what_has_ended_is_refused_with_a_next_step(worker, wish):
    worker.stop()
    with pytest.raises(ProcessError, match=f"count has ended, so there is nothing to {wish}"):
        getattr(worker, wish)()
    with pytest.raises(ProcessError, match=r"Next: start it again with `\.restart\(\)`"):
        getattr(worker, wish)()
    worker.restart()
    getattr(worker, wish)()


@pytest.mark.parametrize("wish", ["halt", "resume"])
def test_what_died_unasked_is_reported_by_its_death(lab, wish):
    def failing():
        raise ValueError("out of stock")

    worker = lab.run(failing)
    lab.until(lambda: not worker.alive)
    with pytest.raises(ProcessError, match=r"failing died \(exit status 1\)[\s\S]*out of stock"):
        getattr(worker, wish)()


def test_a_death_while_halted_is_reported_like_any_other(lab, worker):
    worker.halt()
    os.kill(worker.pid, signal.SIGKILL)
    lab.until(lambda: not worker.alive)
    assert not worker.halted
    with pytest.raises(ProcessError, match="count was ended by SIGKILL"):
        worker.resume()


def test_a_halted_service_holds_its_port_and_lets_callers_wait(lab):
    def greeter():
        from fastapi import FastAPI

        app = FastAPI()

        @app.get("/")
        def greet():
            return "hello"

        return app

    service = lab.serve(greeter)
    service.halt()
    address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
    with pytest.raises(requests.ReadTimeout):  # connected, and not refused
        requests.get(service.url, timeout=0.3)
    with socket.create_connection(address, timeout=5) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        service.resume()
        assert caller.recv(12) == b"HTTP/1.1 200"


PARENT = ORPHANS + "print(*pids, flush=True)\n"


@pytest.mark.parametrize("of_its_own_session", [False, True])
def test_no_halted_process_outlives_a_parent_that_is_killed(way, lab, of_its_own_session):
    # JupyterLab starts a kernel in a session of its own, a shell does not.
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT + "time.sleep(60)"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=of_its_own_session,
    )
    children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    assert children[0].status() == psutil.STATUS_STOPPED
    try:
        parent.kill()
        parent.wait()
        lab.until(lambda: not any(runs(child) for child in children))
    finally:
        for child in children:
            if runs(child):
                child.kill()
        parent.stdout.close()


def test_an_interpreter_that_exits_ends_what_it_has_halted(way, lab):
    done = subprocess.run(
        [sys.executable, "-c", PARENT], capture_output=True, text=True, check=True, timeout=30
    )
    assert not any(psutil.pid_exists(int(pid)) for pid in done.stdout.split())
