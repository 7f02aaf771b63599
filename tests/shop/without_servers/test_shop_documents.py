"""The documents of what the shop says: made from the code, valid, and true."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema.validators import validator_for
from schemathesis.specs.openapi.definitions import OPENAPI_31

from shop import documents
from shop.__main__ import WORKERS, shop
from shop.doubles import (
    BankDouble,
    FixedPrices,
    MemoryDatabase,
    MemoryInventory,
    MemoryOrders,
    MemoryPayments,
    MemoryUnit,
    now,
)
from shop.inventory.service import Inventory
from shop.messages import Message, Record, opened, sealed
from shop.orders.service import FollowOrder, PlaceOrder
from shop.payment.service import Payments

ASYNCAPI_30 = json.loads(
    gzip.decompress((Path(__file__).parents[1] / "asyncapi" / "3.0.0.json.gz").read_bytes())
)


@pytest.fixture(scope="module")
def asyncapi() -> documents.Document:
    return documents.asyncapi(WORKERS)


@pytest.fixture(scope="module")
def openapi() -> documents.Document:
    return documents.openapi()


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_what_is_checked_in_is_what_the_code_makes(
    name: str, request: pytest.FixtureRequest
) -> None:
    kept = json.loads((documents.CONTRACTS / f"{name}.json").read_text())
    assert kept == request.getfixturevalue(name), "see whether it should; python -m shop document"


@pytest.mark.parametrize(
    ("name", "schema", "needs"),
    [("openapi", OPENAPI_31, "info"), ("asyncapi", ASYNCAPI_30, "info")],
)
def test_it_is_valid_and_a_broken_one_is_not(
    name: str, schema: dict[str, Any], needs: str, request: pytest.FixtureRequest
) -> None:
    document = request.getfixturevalue(name)
    validator = validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(document)] == []
    assert not validator.is_valid({k: v for k, v in document.items() if k != needs})


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_whatever_it_refers_to_is_there(name: str, request: pytest.FixtureRequest) -> None:
    document = request.getfixturevalue(name)
    found = list(references(document))
    assert found
    for reference in found:
        assert at(document, reference), reference


def test_an_operation_has_messages_of_its_channel(asyncapi: documents.Document) -> None:
    for operation in asyncapi["operations"].values():
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(message=st.sampled_from(documents.ours()).flatmap(st.from_type))
def test_a_message_that_is_sent_is_as_the_document_says(
    asyncapi: documents.Document, message: Message
) -> None:
    said = asyncapi["components"]["messages"][message.kind().removeprefix("shop.")]
    for trace in ("", "00-1-2-01"):
        record = sealed(message, "orders", trace)
        assert list(errors(said["headers"], dict(record.headers), asyncapi)) == []
        assert list(errors(said["payload"], json.loads(record.value), asyncapi)) == []
    other = record.headers | {"ce_type": "shop.Another.v1"}
    assert list(errors(said["headers"], other, asyncapi))


def test_who_sends_what_and_who_receives_it_is_as_in_a_run_of_all_there_is(
    asyncapi: documents.Document,
) -> None:
    sent = {
        (r.headers["ce_source"], r.topic, r.headers["ce_type"]) for r in a_run_of_all_there_is()
    }
    said: dict[str, set[tuple[str, str, str]]] = {"send": set(), "receive": set()}
    for name, operation in asyncapi["operations"].items():
        for reference in operation["messages"]:
            message = at(asyncapi, at(asyncapi, reference["$ref"])["$ref"])
            channel = at(asyncapi, operation["channel"]["$ref"])
            who = name.partition(".")[0]
            said[operation["action"]].add((who, channel["address"], message["name"]))
    assert {kind for _, _, kind in sent} == {message.kind() for message in documents.ours()}
    assert said["send"] == sent
    heard = {(context, topic) for context, (topic, _) in WORKERS.items()}
    assert said["receive"] == {
        (context, topic, kind) for context, topic in heard for _, to, kind in sent if to == topic
    }


def test_what_would_break_others_is_not_written(
    tmp_path: Path, asyncapi: documents.Document
) -> None:
    documents.write(WORKERS, tmp_path)
    kept = tmp_path / "asyncapi.json"
    before = json.loads(kept.read_text())
    before["components"]["schemas"]["OrderPlaced"]["properties"]["currency"] = {"type": "string"}
    kept.write_text(json.dumps(before))
    with pytest.raises(documents.Incompatible) as refused:
        documents.write(WORKERS, tmp_path)
    assert str(refused.value) == "OrderPlaced.v1 lost the field currency: make a v2."
    assert json.loads(kept.read_text()) == before


def test_the_program_needs_no_servers_to_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(documents, "CONTRACTS", tmp_path)
    said = CliRunner().invoke(shop, ["document"])
    structlog.reset_defaults()  # the program logs to a standard output that is gone now
    assert (said.exit_code, sorted(p.name for p in tmp_path.iterdir())) == (
        0, ["asyncapi.json", "openapi.json"],
    )  # fmt: skip


# -- what the tests need ---------------------------------------------------------------------------


def references(document: Any) -> Iterator[str]:
    for name, value in document.items() if isinstance(document, dict) else enumerate(document):
        if name == "$ref":
            yield value
        elif isinstance(value, dict | list):
            yield from references(value)


def at(document: documents.Document, reference: str) -> Any:
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def errors(
    schema: documents.Document, instance: Any, document: documents.Document
) -> Iterator[Any]:
    whole = {"components": document["components"], "allOf": [schema]}
    yield from validator_for({})(whole).iter_errors(instance)


def a_run_of_all_there_is() -> list[Record]:
    """All that is sent when an order is shipped, one declined, one refused and one given up."""
    database, bank, sent = MemoryDatabase(lamp=10), BankDouble(), list[Record]()

    def place(card: str, lamps: int) -> None:
        unit = MemoryUnit(database)
        place_order = PlaceOrder(unit, MemoryOrders(unit), FixedPrices())
        key, wanted = f"{card} {lamps}", {"lamp": lamps}
        now(place_order(customer_id="mary", card=card, quantities=wanted, key=key))

    def go_on(messages: int = 100) -> None:
        while database.rows.outbox and messages:
            messages -= 1
            record = database.rows.outbox.pop(0)
            sent.append(record)
            unit = MemoryUnit(database)
            handlers = {
                "orders.answers": FollowOrder(unit, MemoryOrders(unit)),
                "payment.commands": Payments(unit, MemoryPayments(unit), bank),
                "inventory.commands": Inventory(unit, MemoryInventory(unit)),
            }
            if record.topic in handlers:
                now(handlers[record.topic].handle(opened(record)))

    for card, lamps in (("tok_1111", 1), ("tok_0002", 1), ("tok_1111", 100)):
        place(card, lamps)
        go_on()
    place("tok_1111", 2)
    go_on(5)  # placed, reserved, and its card is authorised: it waits to be packed
    unit = MemoryUnit(database)
    now(FollowOrder(unit, MemoryOrders(unit)).give_up_late_ones(0))
    go_on()
    return sent
