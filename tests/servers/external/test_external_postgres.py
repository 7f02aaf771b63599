"""A PostgreSQL elsewhere has to give each notebook a schema of its own, or is refused."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from threading import Thread

import pytest
import sqlalchemy
from impostors import Talk

from shoplab.errors import ServerError
from shoplab.servers import external
from shoplab.stack import Stack

TLS_REQUEST = 80877103


@pytest.fixture(scope="module")
def database() -> Iterator[sqlalchemy.URL]:
    """A PostgreSQL that exists."""
    with Stack() as stack:
        yield sqlalchemy.make_url(stack.database_url)


@pytest.fixture
def admin(database: sqlalchemy.URL) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def in_front_of(database: sqlalchemy.URL, begin: Callable[[bytes], tuple[bytes, bytes]]) -> Talk:
    """What stands between clients and a database.

    ``begin`` gets a client's parameters, and returns those to pass on, or else what to answer.
    """
    path = f"{database.query['host']}/.s.PGSQL.{database.query['port']}"

    def talk(client: socket.socket) -> None:
        parameters = read_start(client)
        if parameters is None:  # TLS is not spoken here
            client.sendall(b"N")
            parameters = read_start(client) or b""
        passed_on, answer = begin(parameters)
        if answer:
            return client.sendall(answer)
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(path)
            server.sendall(struct.pack("!II", len(passed_on) + 8, 3 << 16) + passed_on)
            Thread(target=copy, args=[server, client], daemon=True).start()
            copy(client, server)

    return talk


def read_start(client: socket.socket) -> bytes | None:
    """The parameters of a client's start; None where it asks for TLS first."""
    head = client.recv(8)
    if not head:
        raise ConnectionError("the client has left")
    length, code = struct.unpack("!II", head)
    return None if code == TLS_REQUEST else client.recv(length - 8)


def copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(4096):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other way has ended


def refuses_options(parameters: bytes) -> tuple[bytes, bytes]:
    """PgBouncer's answer, word for word; Neon's and Supabase's poolers give it as well."""
    if b"\0options\0" not in parameters:
        return parameters, b""
    fields = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
    return b"", b"E" + struct.pack("!I", len(fields) + 4) + fields


def ignores_options(parameters: bytes) -> tuple[bytes, bytes]:
    """PgBouncer with ``ignore_startup_parameters = options``."""
    words = parameters.rstrip(b"\0").split(b"\0")
    kept = [pair for pair in zip(words[::2], words[1::2], strict=True) if pair[0] != b"options"]
    return b"".join(b"%b\0%b\0" % pair for pair in kept) + b"\0", b""


def refused(patch: pytest.MonkeyPatch, url: str) -> str:
    patch.setenv("DATABASE_URL", url)
    with pytest.raises(ServerError) as caught:
        external.settings("postgres")
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


def written(url: sqlalchemy.URL) -> str:
    return url.render_as_string(hide_password=False)


def through(serve: Callable[[Talk], str], talk: Talk) -> str:
    return f"postgresql://postgres@{serve(talk)}/postgres"


SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'lab_ready%'"


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"]
)
def test_every_driver_s_address_is_taken_and_nothing_of_the_try_stays(
    database: sqlalchemy.URL,
    admin: sqlalchemy.Connection,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", written(database).replace("postgresql+psycopg", scheme))
    assert external.settings("postgres") == {"url": written(database)}
    assert admin.scalar(sqlalchemy.text(SCHEMAS)) == 0


def test_something_in_front_that_changes_nothing_is_taken(
    serve: Callable[[Talk], str], database: sqlalchemy.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = through(serve, in_front_of(database, lambda parameters: (parameters, b"")))
    monkeypatch.setenv("DATABASE_URL", url)
    assert external.settings("postgres") == {
        "url": url.replace("postgresql:", "postgresql+psycopg:")
    }


@pytest.mark.parametrize("pooler", [refuses_options, ignores_options])
def test_a_pooler_is_refused_at_the_door(
    serve: Callable[[Talk], str],
    database: sqlalchemy.URL,
    admin: sqlalchemy.Connection,
    monkeypatch: pytest.MonkeyPatch,
    pooler: Callable[[bytes], tuple[bytes, bytes]],
) -> None:
    said = refused(monkeypatch, through(serve, in_front_of(database, pooler)))
    assert "a connection pooler in front of it" in said
    assert "write the database's direct, unpooled address" in said
    assert admin.scalar(sqlalchemy.text(SCHEMAS)) == 0


def test_a_role_that_may_not_make_schemas(
    database: sqlalchemy.URL, admin: sqlalchemy.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.execute(sqlalchemy.text("CREATE ROLE reader LOGIN"))
    try:
        said = refused(monkeypatch, written(database.set(username="reader")))
    finally:
        admin.execute(sqlalchemy.text("DROP ROLE reader"))
    assert "permission denied for database postgres" in said
    assert "Next: GRANT CREATE ON DATABASE" in said


def test_a_database_that_takes_no_writes(
    database: sqlalchemy.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"options": "-cdefault_transaction_read_only=on"}
    said = refused(monkeypatch, written(database.update_query_dict(options)))
    assert "it takes no writes" in said
    assert "Next: name its primary in DATABASE_URL" in said


@pytest.mark.parametrize("option", ["ssl=require", "pgbouncer=true"])
def test_an_option_of_another_driver(
    database: sqlalchemy.URL, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    said = refused(monkeypatch, f"{written(database)}&{option}")
    assert f'invalid connection option "{option.partition("=")[0]}"' in said
    assert "as in ?sslmode=require" in said


def test_tls_where_there_is_none(
    serve: Callable[[Talk], str], database: sqlalchemy.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = through(serve, in_front_of(database, lambda parameters: (parameters, b"")))
    said = refused(monkeypatch, f"{url}?sslmode=require")
    assert "server does not support SSL, but SSL was required" in said


def test_a_certificate_that_is_not_trusted(
    serve: Callable[[Talk], str], untrusted: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk(client: socket.socket) -> None:
        assert read_start(client) is None
        client.sendall(b"S")
        untrusted(client)

    url = f"{through(serve, talk)}?sslmode=verify-full&sslrootcert=system"
    said = refused(monkeypatch, url)
    assert "its certificate is not trusted" in said
    assert "?sslrootcert=FILE" in said
