"""A RabbitMQ of one's own, where the machine has one: it serves, ends, and leaves nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pika
import psutil
import pytest

from shoplab.errors import ServerError, SetupError
from shoplab.servers import rabbitmq
from shoplab.servers.rabbitmq import RabbitMQ
from shoplab.stack import Stack
from shoplab.stack.leftovers import left_behind
from shoplab.waiting import until

installed = pytest.mark.skipif(not rabbitmq.installed(), reason="no rabbitmq-server on the path")


@installed
def test_it_serves_on_the_loopback_and_everything_of_it_ends(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RABBITMQ_URL", raising=False)
    monkeypatch.setenv("RABBITMQ_NODENAME", "somebody-elses")
    with Stack() as stack:
        url = stack.rabbitmq_url
        assert url is not None
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            channel.queue_declare("orders")
            channel.basic_publish("", "orders", b"tea")
            _, _, body = channel.basic_get("orders", auto_ack=True)
        assert body == b"tea"
        (program,) = stack.programs()
        assert re.fullmatch(r"RabbitMQ \d+\.\d+\.\d+", program)
        names = {process.name() for process in left_behind(home)}
        assert {"beam.smp", "epmd"} <= names
        listening = {
            connection.laddr.ip
            for process in left_behind(home)
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening <= {"127.0.0.1", "::1"}
    until(lambda: not left_behind(home), 15)


@pytest.mark.server
@installed
def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    server = RabbitMQ(tmp_path / "rabbitmq", tmp_path)
    server.start()
    try:
        assert re.fullmatch(r"RabbitMQ \d+\.\d+\.\d+", server.program())
        wrong = server.settings()["url"].replace(server.password, "guess")
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            pika.BlockingConnection(pika.URLParameters(wrong))
        assert server.password not in " ".join(psutil.Process(server.pid).cmdline())
        assert (server.directory / "rabbitmq.conf").stat().st_mode & 0o077 == 0
    finally:
        server.stop()
    assert left_behind(tmp_path) == []


def test_where_none_is_installed_there_is_none(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RABBITMQ_URL", raising=False)
    monkeypatch.setattr(rabbitmq, "script", lambda: None)
    with Stack() as stack:
        assert stack.rabbitmq_url is None
    with pytest.raises(ServerError, match="no rabbitmq-server is on the path"):
        RabbitMQ(tmp_path / "rabbitmq", tmp_path).start()


@installed
@pytest.mark.parametrize("which", ["messages", "names", "distribution"])
def test_a_taken_port_is_replaced_by_another(
    make_server: Callable[..., RabbitMQ], monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        first = rabbitmq.free_ports(3)
        first[["messages", "names", "distribution"].index(which)] = other.getsockname()[1]
        offers = [first, rabbitmq.free_ports(3)]
        monkeypatch.setattr(rabbitmq, "free_ports", lambda _: offers.pop(0))
        make_server("rabbitmq").start()
    assert offers == []


@installed
def test_the_erlang_that_runs_it_is_named(asked_anew: None) -> None:
    assert re.fullmatch(r"Erlang/OTP \d+", rabbitmq.version())


def test_an_erlang_that_does_not_run_here_is_refused_in_its_own_words(
    asked_anew: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erl = tmp_path / "erl"
    erl.write_text("#!/bin/sh\necho libc.so.6: version GLIBC_9.99 not found; exit 1\n")
    erl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SetupError, match=r"GLIBC_9\.99 not found") as refusal:
        rabbitmq.version()
    assert "RABBITMQ_URL" in refusal.value.next_step
