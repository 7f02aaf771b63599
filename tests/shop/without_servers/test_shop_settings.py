"""Settings: what is secret stays so."""

from __future__ import annotations

import pytest

from shop.broker.confluent import _options
from shop.settings import Settings

VARIABLES = {
    "DATABASE_URL": "postgresql://shop:hunter2@db/shop",
    "REDIS_URL": "rediss://:hunter2@cache",
    "KAFKA_BOOTSTRAP_SERVERS": "one:9093,two:9093",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "shop",
    "KAFKA_SASL_PASSWORD": "hunter2",
    "KAFKA_SSL_CAFILE": "/etc/ca.pem",
}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_what_is_secret_is_not_printed(settings: Settings) -> None:
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_both_clients_of_the_broker_get_the_same(settings: Settings) -> None:
    assert settings.kafka() == {
        "bootstrap_servers": ["one:9093", "two:9093"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "shop",
        "sasl_plain_password": "hunter2",
        "ssl_cafile": "/etc/ca.pem",
    }
    assert _options(settings) | {"log_level": 0} == {
        "bootstrap.servers": "one:9093,two:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "shop",
        "sasl.password": "hunter2",
        "ssl.ca.location": "/etc/ca.pem",
        "log_level": 0,
    }
