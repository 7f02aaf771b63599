"""Messages: as they travel, and as strangers send them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.inventory.events import Reserve
from shop.messages import KNOWN, Record, Unreadable, opened, sealed
from shop.payment.events import Authorise


@settings(deadline=None)  # a busy machine is no fault
@given(st.dictionaries(st.text(), st.integers()), st.text(min_size=1))
def test_what_is_sealed_is_opened_as_it_was(quantities: dict[str, int], order_id: str) -> None:
    message = Reserve(order_id=order_id, quantities=quantities)
    envelope = opened(sealed(message, "orders", "00-1-2-01"))
    assert (envelope.message, envelope.trace) == (message, "00-1-2-01")


def test_each_message_has_an_id_of_its_own_and_the_order_as_key() -> None:
    message = Authorise(order_id="7", amount=1, card="tok")
    first, second = sealed(message, "orders"), sealed(message, "orders")
    assert first.headers["ce_id"] != second.headers["ce_id"]
    assert (first.key, first.topic, first.headers["ce_type"]) == (
        "7", "payment.commands", "shop.Authorise.v1",
    )  # fmt: skip


def test_a_field_that_is_new_to_the_reader_is_left_out() -> None:
    record = sealed(Authorise(order_id="7", amount=1, card="tok"), "orders")
    body = json.dumps(json.loads(record.value) | {"currency": "EUR"}).encode()
    told = opened(Record(record.topic, record.key, body, record.headers)).message
    assert told == Authorise(order_id="7", amount=1, card="tok")


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"null", b'{"order_id": "7"}', b"\xff\xfe"])
def test_a_body_that_is_not_what_its_type_says_is_unreadable(value: bytes) -> None:
    record = sealed(Authorise(order_id="7", amount=1, card="tok"), "orders")
    with pytest.raises(Unreadable):
        opened(Record(record.topic, record.key, value, record.headers))


@pytest.mark.parametrize("missing", ["ce_id", "ce_type", "ce_source"])
def test_a_record_that_is_no_event_is_unreadable(missing: str) -> None:
    record = sealed(Authorise(order_id="7", amount=1, card="tok"), "orders")
    headers = {name: value for name, value in record.headers.items() if name != missing}
    with pytest.raises(Unreadable):
        opened(Record(record.topic, record.key, record.value, headers))


def test_every_message_says_what_it_is_and_where_it_goes() -> None:
    for kind, message in KNOWN.items():
        assert kind == f"shop.{message.__name__}.v1"
        assert message.__doc__
        assert message.topic.count(".") == 1
