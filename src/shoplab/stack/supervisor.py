"""The process that owns the servers: it starts them on demand and stops them when nobody is left.

It runs in a session of its own, so that neither Ctrl+C nor the end of a kernel reaches it. Users
talk to it over a Unix socket in JSON lines. An open connection is a lease; the operating system
closes it however the user dies, so nobody has to sign off. ``SHOPLAB_GRACE`` seconds after the
last lease the servers are stopped, their data are removed, and the supervisor ends.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from shoplab.environment import apply_here
from shoplab.errors import LabError, ServerError
from shoplab.locks import exclusive
from shoplab.measure.memory import memory
from shoplab.paths import private_directory, private_socket_directory, socket_directory
from shoplab.servers.kinds import SHARED, make
from shoplab.servers.server import Server, Startable
from shoplab.stack.lease import socket_path
from shoplab.stack.leftovers import sweep
from shoplab.stack.shared import SharedServer
from shoplab.stack.wire import (
    VERSION,
    Act,
    Action,
    Channel,
    Down,
    Pin,
    Private,
    Request,
    StartPrivate,
    Status,
    StatusReport,
    StopPrivate,
    UseShared,
    network,
    refusal,
    request_of,
)

log = logging.getLogger(__name__)

LOCK_PATIENCE = 45.0
"""Seconds a new supervisor waits for its predecessor to finish stopping."""

TICK = 0.2
"""Seconds between two looks at whether somebody is left, and whether the socket is still there."""

FIRST_USER = 5.0
"""Seconds that whoever started this has on top of the grace, since a busy machine may be slow."""


def grace_from_environment() -> float:
    """Seconds from the last lease to the stop: 300 for people, 10 where ``CI`` is set."""
    return float(os.environ.get("SHOPLAB_GRACE") or (10 if os.environ.get("CI") else 300))


class Supervisor:
    """All servers of one home, and everybody who uses them."""

    def __init__(self, home: Path, grace: float) -> None:
        self.home = home
        self.grace = grace
        self.directory = home / "servers"
        # Whoever holds the home's lock may clear what a supervisor left that was killed.
        for left in (self.directory, socket_directory(home)):
            shutil.rmtree(left, ignore_errors=True)
        private_directory(self.directory)
        self.shared = {kind: SharedServer(kind, self.directory / kind, home) for kind in SHARED}
        self.tenants: set[Tenant] = set()
        self.last_used = time.monotonic() + FIRST_USER
        self.pinned = False
        self.leaving = threading.Event()

    def serve(self, announce: Callable[[], None]) -> None:
        """Take users in until the last one has been gone for the grace, or ``leaving`` is set.

        ``announce()`` is called as soon as users can connect. A socket that somebody removes, as
        those who clean ``/tmp`` do, is made again.
        """
        path = socket_path(self.home)
        while not self.leaving.is_set():
            private_socket_directory(self.home)
            path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
                listener.listen(64)
                listener.settimeout(TICK)
                announce()  # to those who wait for the first time
                while path.exists() and not self.leaving.is_set():
                    self._take_in(listener)
        path.unlink(missing_ok=True)  # who comes now starts a new supervisor

    def _take_in(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            unused = not self.tenants and not self.pinned
            if unused and time.monotonic() - self.last_used > self.grace:
                self.leaving.set()
            return
        tenant = Tenant(self, connection)
        self.tenants.add(tenant)
        threading.Thread(target=tenant.serve, daemon=True).start()

    def close(self) -> None:
        """Stop everything, remove the servers' data, keep their logs."""
        for tenant in list(self.tenants):
            tenant.close()
        threads = [threading.Thread(target=shared.close) for shared in self.shared.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sweep(self.home)
        logs = private_directory(self.home / "logs")
        for kind, shared in self.shared.items():
            for path in shared.logs():
                shutil.copyfile(path, logs / f"{kind}.log")
        for directory in (self.directory, socket_directory(self.home)):
            shutil.rmtree(directory, ignore_errors=True)

    def status(self) -> StatusReport:
        """What runs: the supervisor, its users, and every shared server."""
        return {
            "supervisor": {"pid": os.getpid(), "memory_mb": memory([psutil.Process()])},
            "home": str(self.home),
            "grace_s": self.grace,
            "pinned": self.pinned,
            # without the one that asks, and those whose threads have not seen yet that they left
            "leases": sum(not tenant.gone for tenant in list(self.tenants)) - 1,
            "private": sum(len(tenant.private) for tenant in list(self.tenants)),
            "servers": {kind: shared.status() for kind, shared in self.shared.items()},
        }


class Tenant:
    """One user's connection, and the private clusters and servers that live as long as it does."""

    def __init__(self, supervisor: Supervisor, connection: socket.socket) -> None:
        self.supervisor = supervisor
        self.private: dict[str, Startable] = {}
        self._channel = Channel(connection)
        self._closed = False
        self._busy = threading.Lock()

    def serve(self) -> None:
        """Answer this user's requests, one after the other, until the connection ends."""
        try:
            with suppress(OSError):  # the user has gone
                self._channel.send({"version": VERSION, "pid": os.getpid(), "network": network()})
                while (message := self._channel.receive()) is not None:
                    with self._busy:
                        self._channel.send(self._answer(message))
        finally:
            self.close()
            self.supervisor.last_used = time.monotonic()
            self.supervisor.tenants.discard(self)

    def close(self) -> None:
        """End the lease: the connection and all that is private to it. Safe to repeat."""
        with self._busy:
            self._closed = True
            with suppress(OSError):
                self._channel.connection.shutdown(socket.SHUT_RDWR)
            for name in list(self.private):
                self._stop_private(name)
            self._channel.connection.close()

    @property
    def gone(self) -> bool:
        """Whether the user has closed its end."""
        try:
            peek = socket.MSG_PEEK | socket.MSG_DONTWAIT
            return not self._channel.connection.recv(1, peek)
        except BlockingIOError:
            return False
        except OSError:  # we have closed ours
            return True

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            if self._closed:
                raise ServerError("The stack is stopping.", next_step="try again")
            return {"id": message["id"], "result": self._do(request_of(message))}
        except LabError as error:
            return {"id": message["id"], "error": refusal(error)}
        except Exception as error:  # the user is told; silence would look like our end
            log.exception("%s", message)
            unforeseen = ServerError(
                f"The supervisor of the local servers met an error of its own: {error!r}.",
                next_step="it goes on; report this with that log and what `shoplab doctor` says",
                log=self.supervisor.home / "supervisor.log",
            )
            return {"id": message["id"], "error": refusal(unforeseen)}

    def _do(self, request: Request[Any]) -> Any:
        """The result of a request; its type is the one that the request declares."""
        match request:
            case UseShared(kind):
                return self.supervisor.shared[kind].use()
            case StartPrivate(kind, options):
                return self._start_private(kind, options)
            case Act(name, number, action):
                return self._act(name, number, action)
            case StopPrivate(name):
                return self._stop_private(name)
            case Status():
                return self.supervisor.status()
            case Pin():
                self.supervisor.pinned = True
            case Down():
                self.supervisor.leaving.set()
        return None

    def _start_private(self, kind: str, options: dict[str, Any]) -> Private:
        name = f"{kind}-{time.time_ns():x}"
        made = make(kind, self.supervisor.directory / name, self.supervisor.home, **options)
        self.private[name] = made
        try:
            made.start()
        except BaseException:
            del self.private[name]
            made.stop()  # its directory stays: the error names logs in there
            raise
        return {
            "name": name,
            "program": made.program(),
            "settings": made.settings(),
            "members": list(_members(made)),
        }

    def _act(self, name: str, number: int, action: Action) -> int | None:
        members = _members(self.private[name]) if name in self.private else {}
        if number not in members:
            raise ServerError(
                f"There is no server {number} in {name} of this lab; it may have been stopped.",
                next_step="start another one",
            )
        server = members[number]
        match action:
            case "kill":
                server.kill()
            case "restart":
                server.stop()
                server.start()
            case "halt":
                server.halt()
            case "resume":
                server.resume()
            case "pid":
                pass
        return server.pid

    def _stop_private(self, name: str) -> None:
        made = self.private.pop(name, None)
        if made is not None:
            made.stop()
            shutil.rmtree(made.directory, ignore_errors=True)


def _members(made: Startable) -> dict[int, Server]:
    """The servers of a startable by number: a cluster's brokers have their ids, from 1 on."""
    return dict(enumerate(made.processes(), start=1))


def run(home: Path, announce: Callable[[], None]) -> None:
    """Be the supervisor of ``home``; ``announce()`` is called as soon as users can connect."""
    with exclusive(home / "supervisor.lock", LOCK_PATIENCE):
        ended = sweep(home)
        if ended:
            log.info("ended %d servers that a killed supervisor had left", ended)
        supervisor = Supervisor(home, grace_from_environment())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.leaving.set())
        log.info("serving %s", home)
        try:
            supervisor.serve(announce)
        finally:
            supervisor.close()
            log.info("gone")


def main() -> int:
    """Start a supervisor in the background; return 0 when users can connect to it.

    Its standard input is a lock that nobody else starts one; both hold it until users can connect.
    """
    parser = argparse.ArgumentParser(description="Supervise the local servers of one home.")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args().home
    apply_here()  # it is a client of its servers, too
    ready, announce = os.pipe()
    if os.fork():
        os.close(announce)
        with os.fdopen(ready) as stream:
            word = stream.read()
        print(word, end="", file=sys.stderr)
        return 1 if word else 0
    os.close(ready)
    os.chdir("/")
    with (home / "supervisor.log").open("ab", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    logging.basicConfig(format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    with os.fdopen(announce, "w") as stream:

        def started() -> None:
            with Path(os.devnull).open() as nothing:
                os.dup2(nothing.fileno(), 0)
            stream.close()

        try:
            run(home, started)
        except Exception as error:
            log.exception("cannot serve")
            if not stream.closed:
                stream.write(str(error) if isinstance(error, LabError | OSError) else repr(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
