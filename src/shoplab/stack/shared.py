"""A server that every lease shares: started when the first user asks, reported when it dies."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

from shoplab.errors import ServerError
from shoplab.measure.memory import memory
from shoplab.servers.kinds import make
from shoplab.servers.server import Settings, Startable
from shoplab.stack.wire import ServerReport

State = Literal["not started", "starting", "running", "failed", "died", "stopped"]


class SharedServer:
    """One kind of server, at most one of it, for all leases together."""

    def __init__(self, kind: str, directory: Path, home: Path) -> None:
        self.kind = kind
        self.directory = directory
        self.home = home
        self._lock = threading.Lock()
        self._server: Startable | None = None
        self._state: State = "not started"

    def use(self) -> Settings:
        """A client's settings; starts the server where it does not run.

        A server that died unasked is an error once, so that nobody takes its loss of data for a
        result; the request after that starts it again.
        """
        with self._lock:
            if self._state == "stopped":
                raise ServerError("The stack is stopping.", next_step="try again")
            if self._state == "running":
                self._raise_if_lost()
            if self._server is None:
                self._server = make(self.kind, self.directory, self.home)
            if self._state != "running":
                self._start(self._server)
            return self._server.settings()

    def _start(self, server: Startable) -> None:
        self._state = "starting"
        try:
            server.stop()  # of a cluster that has lost one broker, the others run on
            server.start()
        except BaseException:
            self._state = "failed"
            raise
        self._state = "running"

    def _raise_if_lost(self) -> None:
        for server in self._server.processes() if self._server else ():
            if not server.alive:
                self._state = "died"
                status = server.process.returncode if server.process else None
                raise ServerError(
                    f"{self.kind} died, and nobody had asked it to (exit status {status}).",
                    next_step="run the cell again: the next use starts it anew",
                    log=server.log,
                )
            if not server.reachable:
                self._state = "died"
                raise ServerError(
                    f"{self.kind} runs, but its socket has been removed, so nobody can reach it.",
                    next_step="run the cell again: the next use starts it anew",
                    log=server.log,
                )

    def close(self) -> None:
        """Stop the server for good. Safe to repeat."""
        with self._lock:
            if self._server is not None:
                self._server.stop()
            self._state = "stopped"

    def logs(self) -> list[Path]:
        """The logs that exist."""
        servers = self._server.processes() if self._server is not None else ()
        return [server.log for server in servers if server.log.exists()]

    def status(self) -> ServerReport:
        """State and log, and while it runs program, PIDs, settings and memory."""
        log = next(map(str, self.logs()), None)
        server, state = self._server, self._state
        pids = [each.pid for each in server.processes() if each.pid is not None] if server else []
        if server is None or not pids or state != "running":
            return {"state": "died" if state == "running" else state, "log": log}
        return {
            "state": state,
            "log": log,
            "program": server.program(),
            "pids": pids,
            "settings": server.settings(),
            "memory_mb": memory(_families(pids)),
        }


def _families(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with suppress(psutil.Error):
            parent = psutil.Process(pid)
            yield from (parent, *parent.children(recursive=True))
