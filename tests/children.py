"""What a process has started; its fork server, which stays for the next child, does not count."""

from __future__ import annotations

from contextlib import suppress

import psutil
import pytest

forks = pytest.mark.skipif(not psutil.LINUX, reason="no fork server there")

PROGRAM = "shoplab.processes.child"

ORPHANS = """
import time
from shoplab import Lab

def wait():
    while True:
        time.sleep(1)

lab = Lab("orphans", traced=False)
workers = [lab.run(wait), lab.run(wait)]
workers[0].halt()
pids = [worker.pid for worker in workers]
"""
"""A parent to be killed, whose first worker stands still; what it prints is still to be added."""


def fork_servers(parent: psutil.Process) -> list[psutil.Process]:
    """The fork servers of a process: one, or none."""
    return [each for each in parent.children() if is_fork_server(each)]


def started_by(parent: psutil.Process) -> list[psutil.Process]:
    """All that a process has started, and what that has started."""
    servers = fork_servers(parent)
    return [each for each in parent.children(recursive=True) if each not in servers]


def is_fork_server(process: psutil.Process) -> bool:
    """Whether a child is the server: it alone is told the number of a socket."""
    with suppress(psutil.Error):
        return process.cmdline()[-2:-1] == [PROGRAM]
    return False
