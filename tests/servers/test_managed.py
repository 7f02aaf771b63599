"""Managed servers let in whoever has the password and trusts their authority, and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from shop.broker import broker
from shop.settings import Settings
from shoplab.paths import socket_directory
from shoplab.servers.kinds import make
from shoplab.servers.managed.certificates import make_certificates
from shoplab.servers.managed.servers import Managed

pytestmark = pytest.mark.server

Change = Callable[[str], str]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    home = tmp_path_factory.mktemp("é home")
    servers = make("managed", home / "servers", home)
    servers.start()
    yield servers
    servers.stop()
    assert not socket_directory(home).exists() or not list(socket_directory(home).iterdir())


@pytest.fixture
def variables(servers: Managed) -> dict[str, str]:
    return servers.settings()


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of an authority that has signed nothing here."""
    return make_certificates(tmp_path_factory.mktemp("strange")).authority


def settings(variables: dict[str, str], **changes: str) -> Settings:
    names = {name.lower(): value for name, value in variables.items()}
    return Settings(**(names | changes), shop_prefix="test.")


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_the_variables_open_all_doors(variables: dict[str, str], client: str) -> None:
    ours = settings(variables, shop_broker=client)
    broker(ours).create_topics([f"orders-{client}"])
    with redis.Redis.from_url(variables["REDIS_URL"]) as cache:
        assert cache.ping()
    with psycopg.connect(variables["DATABASE_URL"]) as connection:
        role = connection.execute("SELECT rolname, rolsuper FROM pg_roles WHERE rolname = user")
        assert role.fetchone() == ("shop", False)
        connection.execute("CREATE TABLE orders (id int)")
        connection.rollback()


def wrong_password(address: str) -> str:
    before, _, after = address.partition("@")
    return f"{before}x@{after}"


def plain(address: str) -> str:
    return address.partition("?")[0].replace("rediss:", "redis:") + (
        "?sslmode=disable" if address.startswith("postgresql") else ""
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (wrong_password, "password authentication failed"),
        (plain, "wants TLS"),
        (lambda address: address.replace("//shop:", "//postgres:"), "no pg_hba.conf entry"),
    ],
)
def test_postgresql_refuses(variables: dict[str, str], change: Change, said: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=said):
        psycopg.connect(change(variables["DATABASE_URL"]))


@pytest.mark.parametrize(
    ("change", "error"),
    [(wrong_password, redis.AuthenticationError), (plain, redis.ConnectionError)],
)
def test_redis_refuses(
    variables: dict[str, str], change: Change, error: type[redis.RedisError]
) -> None:
    with (
        pytest.raises(error),
        redis.Redis.from_url(change(variables["REDIS_URL"]), socket_timeout=2) as client,
    ):
        client.ping()


@pytest.mark.parametrize(
    "change",
    [
        {"sasl_plain_password": "wrong"},
        {"security_protocol": "SSL"},
        {"security_protocol": "PLAINTEXT"},
    ],
)
def test_kafka_refuses(servers: Managed, change: dict[str, str]) -> None:
    with pytest.raises(KafkaError):
        KafkaAdminClient(**servers.kafka.settings() | change, bootstrap_timeout_ms=1000)


def test_clients_refuse_servers_whose_authority_they_do_not_know(
    servers: Managed, variables: dict[str, str], strange: Path
) -> None:
    ours, theirs = (quote(each) for each in (variables["KAFKA_SSL_CAFILE"], str(strange)))
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(variables["DATABASE_URL"].replace(ours, theirs))
    with (
        pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
        redis.Redis.from_url(variables["REDIS_URL"].replace(ours, theirs)) as client,
    ):
        client.ping()
    with pytest.raises(KafkaError):
        KafkaAdminClient(
            **servers.kafka.settings() | {"ssl_cafile": str(strange)}, bootstrap_timeout_ms=1000
        )


def test_none_outlives_a_start_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = make("managed", tmp_path / "servers", tmp_path)
    monkeypatch.setattr(servers.kafka, "check", lambda: pytest.fail("it does not serve"))
    with pytest.raises(pytest.fail.Exception, match="does not serve"):
        servers.start()
    assert [server.name for server in servers.processes() if server.alive] == []
