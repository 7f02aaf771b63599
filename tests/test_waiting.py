"""Whoever waits long sees a bar: in a notebook's cell, in a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest
from kernels import SOON, Kernel, kernel

LONG = 'with waiting.announced("Starting shop ...", 60): time.sleep(0.5)\n'


@pytest.fixture(scope="module")
def notebook() -> Iterator[Kernel]:
    with kernel() as notebook:
        yield notebook


def test_a_cell_that_waits_shows_a_bar_that_moves_and_goes(notebook: Kernel) -> None:
    run = notebook.run("print('before')\n" + LONG + "print('after')")
    (forms,) = run.bars().values()
    *shown, last = forms
    assert len(shown) > 2
    values = [
        float(re.findall(r'<progress value="(.*?)" max="60">', f["text/html"])[0]) for f in shown
    ]
    assert values == sorted(values)
    assert values[0] < values[-1] < 60
    assert shown[0]["text/plain"] == "0 s of at most 60 s: Starting shop ..."
    assert last == {}
    assert [stream["name"] for stream in run.of("stream")] == ["stdout", "stdout"]


def test_without_a_limit_the_bar_says_the_time_only(notebook: Kernel) -> None:
    (forms,) = notebook.run(LONG.replace(", 60", "")).bars().values()
    assert forms[0]["text/html"] == "<progress></progress> 0 s: Starting shop ..."


def test_a_short_wait_shows_nothing(notebook: Kernel) -> None:
    assert notebook.run("waiting.until(lambda: True)").bars() == {}


def test_what_is_awaited_stands_in_the_cell_as_it_is_written(notebook: Kernel) -> None:
    wait = "waiting.until(lambda: time.sleep(0.3) or '<b>' != '')"
    (forms,) = notebook.run(wait).bars().values()
    assert "&lt;b&gt;" in forms[0]["text/html"]
    assert forms[0]["text/plain"] == f"0 s of at most 30 s: Waiting for {wait} ..."


def test_waits_within_a_wait_show_one_bar(notebook: Kernel) -> None:
    inner = "waiting.until(lambda: time.sleep(0.3) or True)"
    bars = notebook.run(f'with waiting.announced("Starting shop ..."): {inner}').bars()
    ((first, *_),) = bars.values()
    assert "Starting shop" in first["text/plain"]


def test_a_failed_wait_leaves_no_bar(notebook: Kernel) -> None:
    run = notebook.run("waiting.until(lambda: False, 0.3)")
    assert [error["ename"] for error in run.of("error")] == ["DeadlineError"]
    assert [forms[-1] for forms in run.bars().values()] == [{}]


def test_an_interrupted_wait_leaves_no_bar_and_the_next_cell_runs(notebook: Kernel) -> None:
    run = notebook.run("waiting.until(lambda: False, 60)", interrupt=True)
    assert [error["ename"] for error in run.of("error")] == ["KeyboardInterrupt"]
    assert [forms[-1] for forms in run.bars().values()] == [{}]
    assert notebook.run("print(6 * 7)").of("stream") == [{"name": "stdout", "text": "42\n"}]


def test_a_wait_in_a_thread_is_shown_in_the_cell_that_made_it(notebook: Kernel) -> None:
    """Also when the next cell runs by then: that one's outputs stay its own."""
    thread = (
        "import contextvars, threading\n"
        f"def wait():\n    {LONG}"
        "thread = threading.Thread(target=contextvars.copy_context().run, args=[wait])\n"
        "thread.start()\n"
    )
    started = notebook.client.execute(thread)
    ended = notebook.client.execute("thread.join()")
    parents = {}
    while (message := notebook.client.get_iopub_msg(timeout=30))["msg_type"] != "status" or (
        message["content"]["execution_state"] != "idle"
        or message["parent_header"]["msg_id"] != ended
    ):
        parents.setdefault(message["msg_type"], set()).add(message["parent_header"]["msg_id"])
    assert parents["display_data"] == parents["update_display_data"] == {started}


def test_switched_off_a_cell_shows_nothing(notebook: Kernel) -> None:
    switch = "import os\nos.environ['SHOPLAB_PROGRESS'] = 'off'\n"
    run = notebook.run(f"{switch}{LONG}del os.environ['SHOPLAB_PROGRESS']")
    assert run.of("display_data", "stream", "error") == []


def on_a_terminal(code: str, **variables: str) -> str:
    """What a program writes to its standard error, a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    environment = {k: v for k, v in os.environ.items() if k != "SHOPLAB_PROGRESS"} | variables
    with os.fdopen(ours, "rb") as terminal:
        process = subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env=environment)
        os.close(theirs)
        written = b""
        while True:
            try:
                written += terminal.read1()
            except OSError:  # how a terminal says that nobody holds its other end any more
                break
        assert process.wait() == 0
    return written.decode()


def test_a_terminal_shows_a_bar_and_keeps_a_clean_line() -> None:
    written = on_a_terminal(SOON + LONG)
    lines = [line for line in written.split("\r") if line.strip()]
    assert len(lines) > 2
    assert all(line.startswith("0 s of at most 60 s: Starting shop ... ") for line in lines)
    assert re.search(r"\r +\r$", written)  # cleared in the end
    assert on_a_terminal(SOON + LONG, SHOPLAB_PROGRESS="off") == ""


def test_a_long_text_does_not_break_the_terminals_line() -> None:
    for limit in (", 60", ""):
        wait = LONG.replace("shop", "shop " * 30).replace(", 60", limit)
        lines = on_a_terminal(SOON + wait).split("\r")
        assert 60 < max(map(len, lines)) < 80


def test_a_file_is_told_nothing() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "SHOPLAB_PROGRESS"}
    program = [sys.executable, "-c", SOON + LONG]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
