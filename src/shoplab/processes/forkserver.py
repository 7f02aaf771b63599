"""The fork server: it loads the course's libraries, then forks a child for each request.

A child has nothing of the server but what is loaded: no file descriptor, no thread (there is only
one), no environment. It returns from ``fork_children`` and goes on as a fresh interpreter would.
Two things are those of the server's start: Python's seed of ``hash()``, and the limits and the
``umask`` that a process inherits.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shoplab.processes.libraries import OURS


def fork_children(connection: int) -> None:
    """Serve the process at the other end of ``connection`` until it is gone.

    Returns in each child, and in the server never.
    """
    parent = socket.socket(fileno=connection)
    parent.set_inheritable(False)
    children: dict[int, tuple[int, socket.socket]] = {}
    _load(OURS)
    ready = select.poll()
    ready.register(parent, select.POLLIN)
    while True:
        for descriptor, _ in ready.poll():
            if descriptor in children:
                ready.unregister(descriptor)
                _tell_of_end(descriptor, *children.pop(descriptor))
                continue
            _, talk, *_ = socket.recv_fds(parent, 1, 1)
            if not talk:  # the other end is closed
                os._exit(0)
            asked = socket.socket(fileno=talk[0])
            try:
                request, descriptors = _received(asked)
            except (OSError, ValueError):  # whoever asked was interrupted, and has gone away
                asked.close()
                continue
            _load(request["libraries"])
            pid = _fork()
            if not pid:
                for other, (_, told) in children.items():
                    os.close(other)
                    told.close()
                asked.close()
                parent.close()
                _begin(descriptors, request["numbers"], request["environment"])
                return
            for sent in descriptors:
                os.close(sent)
            pidfd = os.pidfd_open(pid)
            children[pidfd] = pid, asked
            ready.register(pidfd, select.POLLIN)
            with suppress(OSError):
                socket.send_fds(asked, [b"%d" % pid], [pidfd])


def _load(names: Sequence[str]) -> None:
    missing = [name for name in names if name not in sys.modules]
    for name in missing:
        with suppress(Exception):  # whoever needs it will say what is wrong with it
            importlib.import_module(name)
    if missing:
        gc.collect()
        gc.freeze()  # what is never looked at stays in memory that all share


def _received(asked: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, descriptors, *_ = socket.recv_fds(asked, 1 << 16, 16)
    while data and not data.endswith(b"\n"):
        more = asked.recv(1 << 16)
        if not more:
            break
        data += more
    try:
        request: dict[str, Any] = json.loads(data)
    except ValueError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return request, descriptors


def _fork() -> int:
    """Fork, where this process has one thread; else it ends: no child could trust its locks."""
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        os._exit(1)
    pid = os.fork()
    with suppress(OSError):  # both do it, so that neither goes on before; who is late may not
        os.setpgid(pid, pid)
    return pid


def _begin(
    descriptors: Sequence[int], numbers: Sequence[int], environment: Mapping[str, str]
) -> None:
    """Be where, and with what, the parent starts a child: its directory, files and variables."""
    here, *files = descriptors
    os.fchdir(here)
    # Out of the way first: the number that one is to have may be another's now.
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, max(numbers) + 1) for each in files]
    for each in descriptors:
        os.close(each)
    for each, number in zip(moved, numbers, strict=True):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def _tell_of_end(pidfd: int, pid: int, told: socket.socket) -> None:
    os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    with told, suppress(OSError):
        told.sendall(b"%d" % os.waitstatus_to_exitcode(status))
