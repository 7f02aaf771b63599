"""One server process: the life cycle that Kafka, Redis and PostgreSQL share."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from shoplab.errors import ServerError
from shoplab.paths import private_directory

MARK = "SHOPLAB_HOME_MARK"
"""Environment variable that every server of a stack carries; its value is the stack's home.

A supervisor ends what carries its mark and was left behind, so nothing else may carry it.
"""


class NotReady(Exception):
    """The round trip does not succeed yet; the server may still be starting."""


class Server(ABC):
    """A server that lives in a directory of its own: configuration, data and log.

    A subclass says how to prepare the directory, which command to run, and what round trip proves
    that it serves. ``start`` returns when the round trip succeeds, or raises ``ServerError`` at
    once when the process dies, or when the time is up.
    """

    #: seconds a start may take before it counts as failed
    start_timeout = 60.0
    #: seconds between a polite stop and SIGKILL
    stop_timeout = 10.0
    #: what asks the server to stop in good order
    stop_signal = signal.SIGTERM

    def __init__(self, name: str, directory: Path, home: Path) -> None:
        self.name = name
        self.directory = private_directory(directory)
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """The file that takes everything the server prints."""
        return self.directory / f"{self.name}.log"

    @abstractmethod
    def prepare(self) -> None:
        """Write configuration and format data, so that ``command`` can run. Safe to repeat."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that runs the server in the foreground."""

    @abstractmethod
    def check(self) -> None:
        """Make a full round trip (write and read back) or raise ``NotReady``."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What a client needs to connect, as JSON-able values."""

    def program(self) -> str:
        """Which program serves, for people: its version and where it is from."""
        return self.name

    def environment(self) -> dict[str, str]:
        """The server's environment: the user's, a locale and time zone that exist, our mark."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LC_")}
        return kept | {"LC_ALL": "C", "TZ": "UTC", MARK: str(self.home)}

    @property
    def pid(self) -> int | None:
        """The process's number while it runs, else None."""
        return self.process.pid if self.process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the server and return when it serves."""
        try:
            self.prepare()
            self._spawn()
        except OSError as error:
            raise ServerError(
                f"{self.name} cannot be started: {error}.",
                next_step="look at that path: its disk may be full, or not yours to write",
            ) from error
        try:
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
        """Return when the round trip succeeds; a process that dies meanwhile fails at once."""
        deadline = time.monotonic() + self.start_timeout
        while True:
            if self.process is None or self.process.poll() is not None:
                status = "unknown" if self.process is None else self.process.returncode
                raise ServerError(
                    f"{self.name} died at its start (exit status {status}).",
                    next_step="read the log above; `shoplab doctor` checks what it needs",
                    log=self.log,
                )
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

    def stop(self) -> None:
        """Stop politely, by SIGKILL after ``stop_timeout`` seconds. Safe to repeat."""
        if self.process is None:
            return
        if self.alive:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(self.stop_timeout)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the process as a crash does, by SIGKILL. Safe to repeat."""
        if self.process is not None and self.alive:
            self.process.kill()
            self.process.wait()
