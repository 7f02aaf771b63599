"""The conversation between user and supervisor: whole messages, requests and errors both ways."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoplab.errors import LoadError, ServerError
from shoplab.stack import wire
from shoplab.stack.wire import Act, Channel, Down, StartPrivate, UseShared


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """Two channels, each the other's end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        yield Channel(ours), Channel(theirs)


def test_messages_arrive_whole_and_in_turn_however_they_are_cut(
    ends: tuple[Channel, Channel],
) -> None:
    ours, theirs = ends
    long = {"text": "é" * 20_000}
    text = (json.dumps({"id": 1}) + "\n" + json.dumps({"id": 2})).encode()
    theirs.connection.sendall(text)
    assert ours.receive(1) == {"id": 1}
    with pytest.raises(TimeoutError):
        ours.receive(0.05)
    theirs.connection.sendall(b"\n")
    assert ours.receive(1) == {"id": 2}  # what came before the time was up is not lost
    theirs.send(long)
    assert ours.receive(1) == long


def test_the_other_ends_end_is_no_message(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.connection.sendall(b'{"half": ')
    theirs.connection.close()
    assert ours.receive(1) is None


@pytest.mark.parametrize(
    "request_",
    [
        UseShared("kafka"),
        StartPrivate("kafka", {"brokers": 3}),
        Act("kafka-1", 2, "kill"),
        Down(),
    ],
)
def test_a_request_is_what_it_was_after_the_wire(request_: wire.Request[object]) -> None:
    message = json.loads(json.dumps(wire.asked(7, request_)))
    assert message["id"] == 7
    assert wire.request_of(message) == request_


@pytest.mark.parametrize(
    "message",
    [
        {"id": 1, "do": "Dance", "with": {}},
        {"id": 1, "do": "UseShared", "with": {"sort": "kafka"}},
        {"id": 1},
    ],
)
def test_an_unknown_request_is_refused_in_a_sentence(message: dict[str, object]) -> None:
    with pytest.raises(ServerError, match="does not know the request"):
        wire.request_of(message)


def test_an_error_keeps_its_class_and_its_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("last words\n")
    error = LoadError("It failed.", next_step="try again", log=log)
    told = wire.refused(json.loads(json.dumps(wire.refusal(error))))
    assert type(told) is LoadError
    assert str(told) == str(error)
