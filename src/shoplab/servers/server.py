"""One server process: the life cycle that Kafka, Redis, PostgreSQL and RabbitMQ share."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from shoplab import families
from shoplab.environment import for_servers
from shoplab.errors import PortTaken, ServerError
from shoplab.paths import private_directory
from shoplab.servers.programs import LIMITS, SIGNALS, Advice, advice

MARK = "SHOPLAB_HOME_MARK"
"""Environment variable that every server of a stack carries; its value is the stack's home.

A supervisor ends what carries its mark and was left behind, so nothing else may carry it.
"""

FULL = 1_000_000
"""A disk with fewer bytes than this is full."""

Settings = dict[str, str]
"""What a client needs to connect: ``url``, or for Kafka ``bootstrap_servers``."""


class Startable(Protocol):
    """What can be started and used: a ``Server``, or a ``Cluster`` of them."""

    directory: Path

    def start(self) -> None:
        """Start it and return when it serves; raise ``ServerError`` where it does not."""

    def stop(self) -> None:
        """Stop it, politely where there is time. Safe to repeat."""

    def settings(self) -> Settings:
        """What a client needs to connect."""

    def program(self) -> str:
        """Which program serves, for people."""

    def processes(self) -> Sequence[Server]:
        """The servers it consists of: itself, or a cluster's brokers."""


class NotReady(Exception):
    """The round trip does not succeed yet; the server may still be starting."""


class Server(ABC):
    """A server that lives in a directory of its own: configuration, data and log.

    A subclass says how to prepare the directory, which command to run, and what round trip proves
    that it serves. ``start`` returns when the round trip succeeds, or raises ``ServerError``
    immediately when the process dies, or when the time is up.
    """

    start_timeout = 60.0
    """Seconds a start may take before it counts as failed."""

    start_attempts = 3
    """Starts that may fail because another program took the port between choosing and using it."""

    stop_timeout = 10.0
    """Seconds between a polite stop and SIGKILL."""

    stop_signal = signal.SIGTERM
    """What asks the server to stop in good order."""

    port_taken: ClassVar[tuple[str, ...]] = ("Address already in use",)
    """What the server prints where another program has its port."""

    last_words: ClassVar[Advice] = (
        ("No space left", "free some space on the disk, then start again"),
        ("quota exceeded", "free some of your space on the disk, then start again"),
        ("Permission denied", "make {directory} yours to write, then start again"),
        ("Read-only file system", "make {directory} yours to write, then start again"),
        *LIMITS,
    )
    """What the server's last words mean, and what to do; ``{directory}`` is its own."""

    def __init__(self, name: str, directory: Path, home: Path) -> None:
        self.name = name
        self.directory = private_directory(directory)
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._halted: families.Family = set()

    @property
    def log(self) -> Path:
        """The file that takes everything the server prints."""
        return self.directory / f"{self.name}.log"

    @abstractmethod
    def prepare(self) -> None:
        """Choose ports, write configuration, format data, so that ``command`` can run.

        Safe to repeat; each start does.
        """

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that runs the server in the foreground."""

    @abstractmethod
    def check(self) -> None:
        """Make a full round trip (write and read back) or raise ``NotReady``."""

    @abstractmethod
    def settings(self) -> Settings:
        """What a client needs to connect."""

    def program(self) -> str:
        """Which program serves, for people: its version and where it is from."""
        return self.name

    def processes(self) -> Sequence[Server]:
        """Itself; a cluster has several."""
        return [self]

    def environment(self) -> dict[str, str]:
        """What a program needs of the user's environment, and our mark."""
        return for_servers(os.environ) | {MARK: str(self.home)}

    @property
    def pid(self) -> int | None:
        """The process's number while it runs, else None."""
        return self.process.pid if self.process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process runs; one that is halted does."""
        return self.process is not None and self.process.poll() is None

    @property
    def reachable(self) -> bool:
        """Whether what clients connect to is still there."""
        return True

    def start(self) -> None:
        """Start the server and return when it serves.

        Where its port was taken meanwhile it is started again, on another one if it chooses its
        own. Raises ``PortTaken`` at the last of these attempts, and ``ServerError``.
        """
        for attempt in range(1, self.start_attempts + 1):
            try:
                return self._start_once()
            except PortTaken:
                if attempt == self.start_attempts:
                    raise

    def _start_once(self) -> None:
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        try:
            self._start_or_kill()
        except OSError as error:
            raise ServerError(
                f"{self.name} cannot be started: {error}.",
                next_step=self._advice(str(error)) or "look at that path and its disk",
            ) from error
        except ServerError as error:
            if error.log is None:
                raise
            raise self._explained(error) from error

    def _start_or_kill(self) -> None:
        try:
            self.prepare()
            self._spawn()
            self._await_service()
        except BaseException:
            self.kill()  # whatever went wrong, a server that was not handed over does not run on
            raise

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                cwd=self.directory,
            )

    def _await_service(self) -> None:
        """Return when the round trip succeeds; a process that dies meanwhile fails immediately."""
        deadline = time.monotonic() + self.start_timeout
        while True:
            if self.process is None or self.process.poll() is not None:
                raise self._death()
            try:
                return self.check()
            except NotReady as reason:
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"{self.name} did not serve within {self.start_timeout:.0f} s ({reason}).",
                        next_step="read the log above; a busy machine may need a second try",
                        log=self.log,
                    ) from reason
            time.sleep(0.01)

    def _death(self) -> ServerError:
        status = "unknown" if self.process is None else self.process.returncode
        what = f"{self.name} died at its start (exit status {status})."
        step = "read the log above; `shoplab doctor` checks what it needs"
        signalled = next((then for number, then in SIGNALS.items() if status == -number), None)
        return ServerError(what, next_step=signalled or step, log=self.log)

    def words(self) -> str:
        """What the server has printed since its last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _explained(self, error: ServerError) -> ServerError:
        """The same error with what the server's own words advise."""
        words = self.words()
        if shutil.disk_usage(self.directory).free < FULL:
            words += os.strerror(errno.ENOSPC)  # a full disk does not take the log either
        if any(seen in words for seen in self.port_taken):
            step = "another program has its port (`ss -ltnp` shows which): try again"
            return PortTaken(error.what, next_step=step, log=self.log)
        step = self._advice(words) or error.next_step
        return ServerError(error.what, next_step=step, log=self.log)

    def _advice(self, words: str) -> str | None:
        found = advice(words, self.last_words)
        return found and found.format(directory=self.directory)

    def stop(self) -> None:
        """Stop politely, by SIGKILL after ``stop_timeout`` seconds. Safe to repeat."""
        if self.process is None or not self.alive:
            return self.kill()
        members = families.family(self.process.pid)
        self.process.send_signal(self.stop_signal)
        self.resume()  # one that is halted hears the signal only then
        try:
            self.process.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        families.end(members)

    def kill(self) -> None:
        """End the process, with all that it has started, as a crash does, by SIGKILL.

        Safe to repeat.
        """
        members = self._halted  # its children, if somebody else has killed it
        if self.process is not None and self.alive:
            members = members | families.family(self.process.pid)
            self.process.kill()
            self.process.wait()
        families.end(members)
        self._halted = set()

    def halt(self) -> None:
        """Halt the server, as SIGSTOP does; return when all its threads and children stand still.

        Its connections stay open and nobody answers, until ``resume``. Safe to repeat. Raises
        ``ServerError`` where it does not run.
        """
        halted = families.halt(self.pid) if self.pid is not None else set()
        if not halted:
            raise ServerError(
                f"{self.name} does not run, so it cannot be halted.",
                next_step="restart it first",
                log=self.log,
            )
        self._halted |= halted

    def resume(self) -> None:
        """Let a halted server go on; return when it does. Safe to repeat."""
        families.resume(self._halted)
        self._halted = set()
