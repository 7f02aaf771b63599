"""Servers that exist elsewhere: used as they are, and refused in one sentence."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shoplab.errors import ServerError
from shoplab.servers import external
from shoplab.servers.external import door
from shoplab.stack import Stack


@pytest.fixture
def local() -> Iterator[dict[str, str]]:
    """The addresses of servers that exist, by the variable that can name them."""
    with Stack() as stack:
        yield {
            "KAFKA_BOOTSTRAP_SERVERS": stack.kafka["bootstrap_servers"],
            "REDIS_URL": stack.redis_url,
            "DATABASE_URL": stack.database_url,
        }


def test_external_servers_are_used_and_no_local_one_is_started(
    local: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, address in local.items():
        monkeypatch.setenv(variable, address)
    with Stack() as stack:
        assert stack.kafka == {"bootstrap_servers": local["KAFKA_BOOTSTRAP_SERVERS"]}
        assert stack.redis_url == local["REDIS_URL"]
        assert stack.database_url == local["DATABASE_URL"]
        assert stack.status() is None
    assert not (home / "servers").exists()
    assert redis.Redis.from_url(local["REDIS_URL"]).ping()


def use(stack: Stack, kind: str) -> object:
    return stack.rabbitmq_url if kind == "rabbitmq" else stack.use(kind)


def test_a_plain_postgresql_url_gets_the_driver(
    local: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = local["DATABASE_URL"].replace("+psycopg", "")
    monkeypatch.setenv("DATABASE_URL", plain)
    with Stack() as stack:
        assert stack.database_url == local["DATABASE_URL"]


@pytest.mark.parametrize(
    ("kind", "address", "reason"),
    [
        ("redis", "redis://:secret@127.0.0.1:1/0", "Connection refused"),
        ("redis", "redis://:secret@nowhere.invalid/0", "not known"),
        ("redis", "http://127.0.0.1", "redis://"),
        ("postgres", "postgresql://me:secret@127.0.0.1:1/x", "Connection refused"),
        ("postgres", "mysql://me:secret@127.0.0.1:1/x", "does not begin with postgresql://"),
        ("postgres", "nonsense", "Could not parse"),
        ("kafka", "127.0.0.1:1", "nobody listens there"),
        ("kafka", "nowhere.invalid:9092", "there is no host of this name"),
        ("rabbitmq", "amqp://me:secret@127.0.0.1:1/", "nobody listens there"),
        ("rabbitmq", "amqp://me:secret@nowhere.invalid/", "not known"),
    ],
)
def test_a_wrong_address_is_one_sentence_without_the_password(
    monkeypatch: pytest.MonkeyPatch, kind: str, address: str, reason: str
) -> None:
    variable = external.VARIABLES[kind]
    monkeypatch.setenv(variable, address)
    with Stack() as stack, pytest.raises(ServerError) as caught:
        use(stack, kind)
    said = str(caught.value)
    assert reason in said
    assert variable in said
    assert f"Next: correct {variable}, or unset it" in said
    assert "secret" not in said
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize(
    "address",
    [
        "redis://:one/two@127.0.0.1:1/0",
        "redis://:one?two@127.0.0.1:1/0",
        "postgresql://me:one@two@127.0.0.1:1/x",
        "postgresql://me:one:two@127.0.0.1:1/x",
        "amqp://me:one#two@127.0.0.1:1/",
    ],
)
def test_a_password_that_is_not_escaped_is_said_and_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    kind = {"redis": "redis", "postgresql": "postgres", "amqp": "rabbitmq"}[address.split(":")[0]]
    monkeypatch.setenv(external.VARIABLES[kind], address)
    with pytest.raises(ServerError, match="holds a letter that has a meaning") as caught:
        external.settings(kind)
    assert "@ as %40, / as %2F" in caught.value.next_step
    assert not {"one", "two"} & set(re.findall(r"\w+", str(caught.value)))


def test_a_refused_redis_password(local: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://default:wrong-one@" + local["REDIS_URL"].split("@")[1])
    with Stack() as stack, pytest.raises(ServerError) as caught:
        assert stack.redis_url
    assert "invalid username-password pair" in str(caught.value)
    assert "wrong-one" not in str(caught.value)


def test_a_refused_database_role(local: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    host = local["DATABASE_URL"].split("?")[1]
    monkeypatch.setenv("DATABASE_URL", f"postgresql://stranger:secret@/postgres?{host}")
    with Stack() as stack, pytest.raises(ServerError, match='role "stranger" does not exist'):
        assert stack.database_url


def test_kafka_settings_for_a_cluster_that_wants_a_password(
    local: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local broker speaks no SASL: it lets nobody in who does."""
    monkeypatch.setattr(door, "DEADLINE", 1.0)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", local["KAFKA_BOOTSTRAP_SERVERS"])
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", "PLAIN")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "me")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "secret")
    with Stack() as stack, pytest.raises(ServerError) as caught:
        assert stack.kafka
    assert "SASL_PLAINTEXT" in caught.value.what
    assert "secret" not in str(caught.value)


@pytest.mark.server
@pytest.mark.parametrize("kind", ["redis", "postgres", "kafka", "rabbitmq"])
def test_a_server_that_accepts_and_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(door, "DEADLINE", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        host = f"127.0.0.1:{mute.getsockname()[1]}"
        accepting = threading.Thread(target=lambda: held.append(mute.accept()), daemon=True)
        held: list[object] = []
        accepting.start()
        address = {
            "redis": f"redis://{host}/0",
            "postgres": f"postgresql://me@{host}/x",
            "rabbitmq": f"amqp://me:secret@{host}/",
        }
        monkeypatch.setenv(external.VARIABLES[kind], address.get(kind, host))
        with Stack() as stack, pytest.raises(ServerError, match="cannot be used"):
            use(stack, kind)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://:se/cret@h:1/0", "redis://:***@h:1/0"),
        ("postgresql://me:p@ss:w@h/x", "postgresql://me:***@h/x"),
        ("postgresql://me@h/x", "postgresql://me@h/x"),
        ("127.0.0.1:9092", "127.0.0.1:9092"),
    ],
)
def test_passwords_are_masked(address: str, shown: str) -> None:
    assert external.masked(address) == shown
