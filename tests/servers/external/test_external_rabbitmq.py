"""A RabbitMQ elsewhere: taken when it lets us in, else refused with the cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from impostors import Talk

from shoplab.errors import ServerError
from shoplab.servers import external, rabbitmq
from shoplab.servers.rabbitmq import RabbitMQ


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    if not rabbitmq.installed():
        pytest.skip("no rabbitmq-server is on the path")
    directory = tmp_path_factory.mktemp("rabbitmq")
    server = RabbitMQ(directory, directory)
    server.start()
    yield server
    server.stop()


def refused(patch: pytest.MonkeyPatch, url: str) -> str:
    patch.setenv("RABBITMQ_URL", url)
    with pytest.raises(ServerError) as caught:
        external.settings("rabbitmq")
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


def test_one_that_can_is_taken(server: RabbitMQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_URL", server.settings()["url"])
    assert external.settings("rabbitmq") == server.settings()


def test_a_virtual_host_that_is_not_there(
    server: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(monkeypatch, server.settings()["url"].replace("%2F", "nowhere"))
    assert "vhost nowhere not found" in said
    assert "correct the virtual host at the end of RABBITMQ_URL, often /%2F" in said


def test_a_wrong_password(server: RabbitMQ, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(monkeypatch, server.settings()["url"].replace(server.password, "guess"))
    assert "it refuses this user or password" in said
    assert "guess" not in said


def test_tls_where_there_is_none(server: RabbitMQ, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(monkeypatch, server.settings()["url"].replace("amqp:", "amqps:"))
    assert "it speaks no TLS" in said
    assert "begin RABBITMQ_URL with amqp://" in said


def test_a_certificate_that_is_not_trusted(
    serve: Callable[[Talk], str], untrusted: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(monkeypatch, f"amqps://me:secret@{serve(untrusted)}/%2F")
    assert "certificate verify failed: self-signed certificate" in said
    assert "in SSL_CERT_FILE" in said
