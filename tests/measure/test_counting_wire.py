"""The wire counts every byte, both ways, and changes none."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
from kafka import KafkaConsumer, KafkaProducer

from shoplab import Lab
from shoplab.measure.wire import Wire
from shoplab.ports import LOOPBACK, free_ports
from shoplab.waiting import until


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer((LOOPBACK, 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{LOOPBACK}:{server.server_port}/echo"
    server.shutdown()
    server.server_close()


def test_a_body_goes_there_and_back_unchanged_and_counts_twice(wire: Wire, url: str) -> None:
    through = wire.through(url, "http")
    requests.post(through, data=b"x", timeout=5)
    small = wire.bytes["http"]
    body = b"y" * 200_001
    assert requests.post(through, data=body, timeout=5).content == body
    digits = 2 * len("200000")  # longer lengths in both headers, at most
    assert 400_000 <= wire.bytes["http"] - 2 * small <= 400_000 + digits


def test_who_is_not_there_does_not_answer_and_may_come_back(wire: Wire, url: str) -> None:
    (port,) = free_ports(1)
    through = wire.through(f"http://{LOOPBACK}:{port}", "http")
    with pytest.raises(requests.ConnectionError):
        requests.get(through, timeout=5)
    own = int(through.rpartition(":")[2])
    with (
        socket.create_server((LOOPBACK, port)) as server,
        socket.create_connection((LOOPBACK, own)) as client,
    ):
        client.sendall(b"hello")
        far, _ = server.accept()
        with far:
            assert far.recv(5) == b"hello"
    until(lambda: wire.bytes["http"] >= len(b"hello"), timeout=5)


@pytest.mark.server
def test_kafka_goes_over_the_wire(wire: Wire) -> None:
    with Lab("07-2", traced=False) as lab:
        kafka = lab.kafka | {"proxy_url": wire.proxy("kafka")}
        topic, value = lab.topic("wire"), json.dumps("z" * 10_000).encode()
        with KafkaProducer(**kafka) as producer:
            before = wire.bytes["kafka"]
            producer.send(topic, value, key=b"one").get(timeout=30)
        assert wire.bytes["kafka"] - before > len(value)
        with KafkaConsumer(topic, auto_offset_reset="earliest", **kafka) as consumer:
            assert next(iter(consumer)).value == value
        assert wire.bytes["kafka"] - before > 2 * len(value)
