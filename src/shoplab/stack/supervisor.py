"""The process that owns the servers: it starts them on demand and stops them when nobody is left.

It runs in a session of its own, so that neither Ctrl+C nor the end of a kernel reaches it. Users
talk to it over a Unix socket in JSON lines. An open connection is a lease; the operating system
closes it however the user dies, so nobody has to sign off. ``SHOPLAB_GRACE`` seconds after the
last lease the servers are stopped, their data are removed, and the supervisor ends.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from shoplab.errors import LabError, ServerError
from shoplab.locks import exclusive
from shoplab.paths import private_directory, socket_directory
from shoplab.stack.lease import socket_path
from shoplab.stack.leftovers import sweep
from shoplab.stack.shared import KINDS, SharedServer, make_cluster, make_private, memory
from shoplab.stack.wire import VERSION

log = logging.getLogger(__name__)

LOCK_PATIENCE = 45.0
"""Seconds a new supervisor waits for its predecessor to finish stopping."""


def grace_from_environment() -> float:
    """Seconds from the last lease to the stop: 300 for people, 10 where ``CI`` is set."""
    return float(os.environ.get("SHOPLAB_GRACE") or (10 if os.environ.get("CI") else 300))


class Supervisor:
    """All servers of one home, and everybody who uses them."""

    def __init__(self, home: Path, grace: float) -> None:
        self.home = home
        self.grace = grace
        self.directory = home / "servers"
        shutil.rmtree(self.directory, ignore_errors=True)
        private_directory(self.directory)
        self.shared = {kind: SharedServer(kind, self.directory / kind, home) for kind in KINDS}
        self.leases: set[Tenant] = set()
        self.last_used = time.monotonic()
        self.pinned = False
        self.leaving = threading.Event()

    def serve(self, listener: socket.socket) -> None:
        """Accept leases until the last one has been gone for the grace, or ``leaving`` is set."""
        listener.settimeout(0.2)
        while not self.leaving.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                unused = not self.leases and not self.pinned
                if unused and time.monotonic() - self.last_used > self.grace:
                    self.leaving.set()
                continue
            lease = Tenant(self, connection)
            self.leases.add(lease)
            threading.Thread(target=lease.serve, daemon=True).start()

    def close(self) -> None:
        """Stop everything, remove the servers' data, keep their logs."""
        for lease in list(self.leases):
            lease.close()
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

    def status(self) -> dict[str, Any]:
        """What runs, as JSON: the supervisor, its users, and every shared server."""
        return {
            "supervisor": {"pid": os.getpid(), "memory_mb": memory([psutil.Process()])},
            "home": str(self.home),
            "grace_s": self.grace,
            "pinned": self.pinned,
            "leases": len(self.leases) - 1,  # without the one that asks
            "private": sum(len(lease.private) for lease in list(self.leases)),
            "servers": {kind: shared.status() for kind, shared in self.shared.items()},
        }


class Tenant:
    """One user's connection, and the private clusters and servers that live as long as it does."""

    def __init__(self, supervisor: Supervisor, connection: socket.socket) -> None:
        self.supervisor = supervisor
        self.connection = connection
        self.private: dict[str, Any] = {}
        self._closed = False
        self._busy = threading.Lock()

    def serve(self) -> None:
        """Answer this user's requests, one after the other, until the connection ends."""
        try:
            with suppress(ConnectionError), self.connection.makefile("rw") as stream:
                self._send(stream, {"version": VERSION, "pid": os.getpid()})
                for line in stream:
                    with self._busy:
                        self._send(stream, self._answer(json.loads(line)))
        finally:
            self.close()
            self.supervisor.last_used = time.monotonic()
            self.supervisor.leases.discard(self)

    def close(self) -> None:
        """End the lease: the connection and all that is private to it. Safe to repeat."""
        with self._busy:
            self._closed = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            for name in list(self.private):
                self._stop_private(name)
            self.connection.close()

    @staticmethod
    def _send(stream: Any, message: dict[str, Any]) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            if self._closed:
                raise ServerError("The stack is stopping.", next_step="try again")
            return {"id": request["id"], "result": self._do(request)}
        except LabError as error:
            return {
                "id": request["id"],
                "error": {
                    "class": type(error).__name__,
                    "what": error.what,
                    "next_step": error.next_step,
                    "log": str(error.log) if error.log else None,
                },
            }

    def _do(self, request: dict[str, Any]) -> Any:
        match request:
            case {"do": "server", "kind": str(kind)}:
                return self.supervisor.shared[kind].use()
            case {"do": "cluster", "brokers": int(brokers)}:
                return self._start_cluster(brokers)
            case {"do": "broker", "cluster": str(name), "id": int(broker), "action": str(action)}:
                return self._act_on_broker(name, broker, action)
            case {"do": "private", "kind": str(kind), "options": dict(options)}:
                return self._start_private(kind, options)
            case {"do": "stop", "name": str(name)}:
                return self._stop_private(name)
            case {"do": "status"}:
                return self.supervisor.status()
            case {"do": "pin"}:
                self.supervisor.pinned = True
            case {"do": "down"}:
                self.supervisor.leaving.set()
            case _:
                raise ServerError(
                    f"The supervisor does not know the request {request}.",
                    next_step="run `shoplab down`: another version of shoplab started it",
                )
        return None

    def _start_cluster(self, brokers: int) -> dict[str, Any]:
        name = f"cluster-{time.time_ns():x}"
        cluster = make_cluster(self.supervisor.directory / name, self.supervisor.home, brokers)
        self._start(name, cluster)
        return {"cluster": name, "brokers": list(cluster.brokers), "kafka": cluster.settings()}

    def _start_private(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        name = f"{kind}-{time.time_ns():x}"
        home = self.supervisor.home
        server = make_private(kind, self.supervisor.directory / name, home, options)
        self._start(name, server)
        return {"name": name, "settings": server.settings(), "program": server.program()}

    def _start(self, name: str, made: Any) -> None:
        self.private[name] = made
        try:
            made.start()
        except BaseException:
            self._stop_private(name, remove=False)  # the error names logs in there
            raise

    def _act_on_broker(self, name: str, broker: int, action: str) -> int | None:
        cluster = self.private.get(name)
        if cluster is None or broker not in cluster.brokers:
            raise ServerError(
                f"There is no broker {broker} in a cluster {name} of this lab.",
                next_step="look at the cluster's `brokers`; a stopped cluster has none",
            )
        if action == "kill":
            cluster.kill(broker)
        elif action == "restart":
            cluster.restart(broker)
        pid: int | None = cluster.pid(broker)
        return pid

    def _stop_private(self, name: str, remove: bool = True) -> None:
        made = self.private.pop(name, None)
        if made is not None:
            made.stop()
            if remove:
                shutil.rmtree(made.directory, ignore_errors=True)


def run(home: Path, announce: Any) -> None:
    """Be the supervisor of ``home``; ``announce()`` is called as soon as users can connect."""
    with exclusive(home / "supervisor.lock", LOCK_PATIENCE):
        ended = sweep(home)
        if ended:
            log.info("ended %d servers that a killed supervisor had left", ended)
        supervisor = Supervisor(home, grace_from_environment())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.leaving.set())
        path = socket_path(home)
        path.unlink(missing_ok=True)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
                listener.listen(64)
                announce()
                log.info("serving %s", home)
                supervisor.serve(listener)
                path.unlink(missing_ok=True)  # who comes now starts a new supervisor
        finally:
            supervisor.close()
            log.info("gone")


def main() -> int:
    """Start a supervisor in the background; return 0 when users can connect to it."""
    parser = argparse.ArgumentParser(description="Supervise the local servers of one home.")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args().home
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
    try:
        run(home, lambda: os.close(announce))
    except (LabError, OSError) as error:
        log.exception("cannot serve")
        with suppress(OSError):
            os.write(announce, f"{error}\n".encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
