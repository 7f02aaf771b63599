"""A function run in a process of its own."""

from __future__ import annotations

import linecache
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from shoplab.errors import DeadlineError, ProcessError
from shoplab.stack.leftovers import runs


def note_and_wait(notes: Path):
    notes.write_text("begun")
    try:
        while True:
            time.sleep(0.01)
    finally:
        notes.write_text("closed")


def begun(notes: Path):
    return lambda: notes.exists() and notes.read_text() == "begun"


def test_a_worker_returns_its_result_as_json(lab):
    def count(words):
        return {"words": len(words), "pair": (1, 2)}

    assert lab.run(count, ["a", "b"]).result() == {"words": 2, "pair": [1, 2]}


def test_a_result_that_json_cannot_carry_is_refused(lab):
    def opened():
        return {1, 2}

    with pytest.raises(ProcessError, match="opened returned a set that JSON cannot carry"):
        lab.run(opened).result()


def test_stop_runs_finally_and_is_no_failure(way, lab, tmp_path):
    notes = tmp_path / "notes"
    worker = lab.run(note_and_wait, notes)
    lab.until(begun(notes))
    worker.stop()
    assert notes.read_text() == "closed"
    assert not worker.died


def test_kill_runs_no_finally(lab, tmp_path):
    notes = tmp_path / "notes"
    worker = lab.run(note_and_wait, notes)
    lab.until(begun(notes))
    pid = worker.pid
    worker.kill()
    assert notes.read_text() == "begun"
    assert not psutil.pid_exists(pid)


def test_a_worker_that_will_not_stop_is_killed_after_the_grace(lab, tmp_path):
    def stubborn(notes):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        notes.write_text("begun")
        while True:
            time.sleep(0.01)

    notes = tmp_path / "notes"
    worker = lab.run(stubborn, notes)
    lab.until(begun(notes))
    worker.stop(timeout=0.2)
    assert worker.wait() == -signal.SIGKILL


def test_a_stop_that_nobody_has_heard_is_asked_for_again(lab, tmp_path):
    def deaf_at_first(notes):
        leave = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, leave))
        note_and_wait(notes)

    notes = tmp_path / "notes"
    worker = lab.run(deaf_at_first, notes)
    lab.until(begun(notes))
    worker.stop()
    assert notes.read_text() == "closed"


def test_a_stop_that_takes_its_time_is_not_disturbed(lab, tmp_path):
    def thorough(notes):
        try:
            note_and_wait(notes)
        finally:
            time.sleep(1)
            notes.write_text("tidy")

    notes = tmp_path / "notes"
    worker = lab.run(thorough, notes)
    lab.until(begun(notes))
    worker.stop()
    assert notes.read_text() == "tidy" and worker.wait() == 0


def test_an_exception_is_in_the_log_and_in_the_error_with_its_source_line(way, lab):
    def charge(order):
        raise ValueError(f"no price for {order}")

    worker = lab.run(charge, "tea")
    with pytest.raises(ProcessError) as caught:
        worker.result()
    assert "ValueError: no price for tea" in worker.log.read_text()
    assert 'raise ValueError(f"no price for {order}")' in str(caught.value)
    assert "carry_out" not in str(caught.value)


def test_the_traceback_of_a_notebooks_function_shows_its_source(lab):
    cell = "def charge(order):\n    raise ValueError(order)\n"
    linecache.cache["cell 7"] = (len(cell), None, cell.splitlines(keepends=True), "cell 7")
    names = {"__name__": "__main__"}
    exec(compile(cell, "cell 7", "exec"), names)
    with pytest.raises(ProcessError) as caught:
        lab.run(names["charge"], "tea").result()
    assert 'File "cell 7", line 2, in charge' in str(caught.value)
    assert "    raise ValueError(order)" in str(caught.value)


def test_output_goes_to_the_log_and_not_to_the_notebook(lab, capfd):
    def talk():
        print("to standard output")
        print("to standard error", file=sys.stderr)
        os.system("echo from a grandchild")

    worker = lab.run(talk)
    assert worker.wait() == 0
    assert worker.log.read_text().splitlines() == [
        "to standard output",
        "to standard error",
        "from a grandchild",
    ]
    assert capfd.readouterr() == ("", "")


def test_a_restart_runs_the_same_call_and_continues_the_log(lab):
    def speak(word):
        print(word)

    worker = lab.run(speak, "again")
    assert worker.wait() == 0
    worker.restart()
    assert worker.wait() == 0
    assert worker.log.read_text() == "again\nagain\n"


def test_a_worker_that_kills_itself_can_be_awaited_and_restarted(way, lab, tmp_path):
    def crash_once(marker):
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "resumed"

    worker = lab.run(crash_once, tmp_path / "marker")
    assert worker.wait() == -signal.SIGKILL
    worker.restart()
    assert worker.result() == "resumed"


def test_a_result_that_never_comes_meets_its_deadline(lab, tmp_path):
    worker = lab.run(note_and_wait, tmp_path / "notes")
    with pytest.raises(DeadlineError, match=r"note_and_wait still runs after 0\.2 s"):
        worker.result(timeout=0.2)


def test_a_large_call_and_a_large_result_pass(way, lab):
    def echo(text):
        return text

    text = "x" * 3_000_000
    assert lab.run(echo, text).result() == text


def test_what_cannot_be_pickled_is_named(lab):
    guard = threading.Lock()

    def careful():
        with guard:
            pass

    with pytest.raises(ProcessError) as caught:
        lab.run(careful)
    assert "careful cannot travel" in str(caught.value)
    assert "the variable 'guard' (a lock)" in str(caught.value)

    with pytest.raises(ProcessError, match=r"argument 1 \(a lock\)"):
        lab.run(print, guard, name="printer")


def test_a_handle_in_a_function_is_refused_with_the_remedy(lab, tmp_path):
    other = lab.run(note_and_wait, tmp_path / "notes")

    def spy():
        return other.pid

    with pytest.raises(ProcessError, match=r"pass what is needed from it as an argument"):
        lab.run(spy)


INTERRUPTED = """
import sys, time
from pathlib import Path
from shoplab import Lab

def note(file):
    number = 0
    while True:
        number += 1
        file.write_text(str(number))
        time.sleep(0.01)

lab = Lab("interrupted", traced=False)
file = Path(sys.argv[1])
worker = lab.run(note, file)
lab.until(lambda: file.exists() and file.read_text())
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    file.unlink()
    lab.until(file.exists)
    print("works on" if worker.alive else "ended")
"""


def test_an_interrupt_of_the_kernels_group_leaves_the_worker_running(way, lab, tmp_path):
    kernel = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "notes")],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert kernel.stdout.readline() == "ready\n"
    os.killpg(kernel.pid, signal.SIGINT)
    assert kernel.communicate(timeout=30)[0] == "works on\n"


PARENT = """
import time
from shoplab import Lab

def app():
    async def application(scope, receive, send):
        pass
    return application

def wait():
    while True:
        time.sleep(1)

lab = Lab("orphans", traced=False)
service, worker = lab.serve(app), lab.run(wait)
print(service.pid, worker.pid, flush=True)
time.sleep(60)
"""


def test_no_process_outlives_a_parent_that_is_killed(way, lab):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    try:
        parent.kill()
        parent.wait()
        lab.until(lambda: not any(runs(child) for child in children))
    finally:
        for child in children:
            if runs(child):
                child.kill()
        parent.stdout.close()
