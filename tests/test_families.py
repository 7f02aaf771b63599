"""Whoever is told that a process stands still can rely on it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from shoplab import families
from shoplab.errors import DeadlineError
from shoplab.families import end, halt, resume
from shoplab.waiting import until

FAMILY = """
import subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", "print('child', flush=True)\\nwhile True: pass"])
threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()
"""
"""A process with two busy threads and a busy child, which says when it runs."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at threads in /proc")


@pytest.fixture
def family() -> Iterator[psutil.Process]:
    process = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"child\n"
    parent = psutil.Process(process.pid)
    members = [parent, *parent.children(recursive=True)]
    yield parent
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    process.stdout.close()


def statuses(parent: psutil.Process) -> set[str]:
    """Of a process, its children, and each of their threads."""
    members = [parent, *parent.children(recursive=True)]
    assert len(members) == 2 and len(parent.threads()) == 2
    return {member.status() for member in members}.union(*map(families._states, members))


def test_all_threads_and_children_stand_still_and_go_on(family: psutil.Process) -> None:
    halted = halt(family.pid)
    assert statuses(family) == {psutil.STATUS_STOPPED, "T"}
    before = family.cpu_times().user
    resume(halted)
    assert not {psutil.STATUS_STOPPED, "T"} & statuses(family)
    until(lambda: family.cpu_times().user > before)


def test_both_return_when_it_is_so_however_late_the_signal_takes_effect(
    family: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = psutil.Process.send_signal

    def late(process: psutil.Process, number: int) -> None:
        threading.Timer(0.3, send, [process, number]).start()

    monkeypatch.setattr(psutil.Process, "send_signal", late)
    halted = halt(family.pid)
    assert statuses(family) == {psutil.STATUS_STOPPED, "T"}
    resume(halted)
    assert not {psutil.STATUS_STOPPED, "T"} & statuses(family)


def test_what_does_not_stand_still_in_time_is_said(
    family: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil.Process, "send_signal", lambda *_: None)
    monkeypatch.setattr(families, "DEADLINE", 0.2)
    with pytest.raises(DeadlineError, match="all_stand_still"):
        halt(family.pid)


def test_both_can_be_repeated(family: psutil.Process) -> None:
    halted = halt(family.pid)
    assert halt(family.pid) == halted
    resume(halted)
    resume(halted)
    assert not {psutil.STATUS_STOPPED, "T"} & statuses(family)


def test_a_halted_family_can_be_ended(family: psutil.Process) -> None:
    halted = halt(family.pid)
    end(halted)
    assert not [member for member in halted if family_moves(member)]
    resume(halted)
    end(halted)


def family_moves(member: psutil.Process) -> bool:
    return member.is_running() and member.status() != psutil.STATUS_ZOMBIE


def test_a_process_that_is_not_there_has_no_family() -> None:
    assert halt(2**22 + 1) == set()
