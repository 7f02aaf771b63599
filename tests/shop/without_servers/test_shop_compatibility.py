"""What may change in a message, and what would break those who read it or write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from shop import documents
from shop.__main__ import WORKERS
from shop.compatibility import breaks

Schema = dict[str, Any]


def test_no_message_breaks_who_reads_or_writes_it_as_it_was_checked_in() -> None:
    kept = json.loads((documents.CONTRACTS / "asyncapi.json").read_text())
    assert breaks(kept, documents.asyncapi(WORKERS)) == []


def document(payload: Schema, **more: Schema) -> Schema:
    """A document of one message, ``Paid.v1`` on ``payments``."""
    return {
        "channels": {"payments": {"messages": {"Paid.v1": {}}}},
        "components": {"messages": {"Paid.v1": {"payload": payload}}, "schemas": more},
    }


PAID: Schema = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "title": "Amount"},
        "note": {"type": "string", "default": ""},
    },
    "required": ["amount"],
}


def changed(change: Callable[[Schema], Any]) -> list[str]:
    new = deepcopy(PAID)
    change(new)
    return breaks(document(PAID), document(new))


@pytest.mark.parametrize(
    "change",
    [
        lambda paid: paid["properties"].update(currency={"type": "string", "default": "EUR"}),
        lambda paid: paid["properties"].update(title={"type": "string", "default": ""}),
        lambda paid: paid["properties"]["amount"].update(description="in cents", title="Cents"),
        lambda paid: paid.update(description="What was paid."),
        lambda paid: paid.update(properties=dict(reversed(paid["properties"].items()))),
    ],
    ids=["optional field", "field called title", "words", "words of the message", "sequence"],
)
def test_a_field_more_that_nobody_needs_and_other_words_break_nothing(
    change: Callable[[Schema], Any],
) -> None:
    assert changed(change) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda paid: paid["properties"].pop("note"), "lost the field note"),
        (
            lambda paid: paid["properties"].update(text=paid["properties"].pop("note")),
            "lost the field note",
        ),
        (
            lambda paid: paid["properties"].update(amount={"type": "number"}),
            "changed the field amount",
        ),
        (
            lambda paid: paid["properties"]["amount"].update(minimum=1),
            "changed the field amount",
        ),
        (
            lambda paid: paid["properties"]["note"].update(default="none"),
            "changed the field note",
        ),
        (
            lambda paid: paid["required"].append("note"),
            "cannot do without the field note any more, which old producers leave out",
        ),
        (
            lambda paid: paid["required"].remove("amount"),
            "may come without the field amount, which old consumers need",
        ),
        (
            lambda paid: (
                paid["properties"].update(currency={"type": "string"}),
                paid["required"].append("currency"),
            ),
            "needs the new field currency, which old producers do not send",
        ),
        (
            lambda paid: paid.update(additionalProperties=False),
            "changed in what it is beside its fields",
        ),
    ],
)
def test_each_break_is_named(change: Callable[[Schema], Any], says: str) -> None:
    assert changed(change) == [f"Paid.v1 {says}: make a v2."]


def test_each_break_of_several_is_named() -> None:
    found = changed(lambda paid: paid.update(properties={"sum": {}}, required=["sum"]))
    assert len(found) == 3


def test_the_first_version_after_the_ninth_is_the_tenth() -> None:
    old, new = (json.loads(json.dumps(document(each)).replace(".v1", ".v9")) for each in (PAID, {}))
    assert all(found.endswith(": make a v10.") for found in breaks(old, new))


@pytest.mark.parametrize("where", ["message", "channel"])
def test_a_message_that_is_gone_or_goes_elsewhere_breaks_its_readers(where: str) -> None:
    old, new = document(PAID), document(PAID)
    new["channels"] = {"payments": {"messages": {}}} if where == "message" else {}
    says = "Paid.v1 is not on payments any more: send it until nobody reads it."
    assert breaks(old, new) == [says]
    assert breaks(new, old) == []


def test_what_a_field_refers_to_is_part_of_it() -> None:
    holder = {"type": "object", "properties": {"card": {"$ref": "#/components/schemas/Card"}}}
    old = document({"$ref": "#/components/schemas/Paid"}, Paid=holder, Card={"enum": ["a"]})
    new = document({"$ref": "#/components/schemas/Paid"}, Paid=holder, Card={"enum": ["a", "b"]})
    assert breaks(old, new) == ["Paid.v1 changed the field card: make a v2."]
    assert breaks(old, deepcopy(old)) == []


# -- the rule is right: pydantic reads what the other side writes ----------------------------------

TYPES = st.sampled_from([int, str, bool, list[int]])
FIELDS = st.dictionaries(
    st.sampled_from("abcd"), st.tuples(TYPES, st.booleans()), min_size=1, max_size=4
)


def model(fields: dict[str, tuple[type, bool]]) -> type[BaseModel]:
    """A message of these fields, each of a type and needed, or not."""
    definitions: dict[str, Any] = {
        name: (kind, ...) if needed else (kind, kind()) for name, (kind, needed) in fields.items()
    }
    strict = ConfigDict(extra="ignore", strict=True)  # what is read is what was written, or nothing
    return create_model("Paid", __config__=strict, **definitions)


def understood(written: BaseModel, reader: type[BaseModel]) -> bool:
    """Whether the reader takes it, with all that both know in it, the same."""
    try:
        read = reader.model_validate_json(written.model_dump_json(exclude_unset=True))
    except ValidationError:
        return False
    known = written.model_fields_set & set(reader.model_fields)
    return all(getattr(read, name) == getattr(written, name) for name in known)


@settings(deadline=None, max_examples=200)
@given(old=FIELDS, new=FIELDS, data=st.data())
def test_what_the_rule_allows_is_understood_in_both_directions(
    old: dict[str, tuple[type, bool]], new: dict[str, tuple[type, bool]], data: st.DataObject
) -> None:
    # most pairs of strangers break; so that many do not, the new one mostly keeps the old fields
    if data.draw(st.booleans()):
        new = {name: (kind, False) for name, (kind, _) in new.items()} | old
    before, after = model(old), model(new)
    found = breaks(document(before.model_json_schema()), document(after.model_json_schema()))
    if not found:
        for writer, reader in ((before, after), (after, before)):
            fields = {n: st.from_type(f.annotation) for n, f in writer.model_fields.items()}
            needed = {n for n, f in writer.model_fields.items() if f.is_required()}
            values = data.draw(
                st.fixed_dictionaries(
                    {n: fields[n] for n in needed},
                    optional={n: fields[n] for n in fields if n not in needed},
                )
            )
            assert understood(writer(**values), reader)


@settings(deadline=None, max_examples=200)
@given(old=FIELDS, new=FIELDS)
def test_what_a_reader_cannot_do_without_is_refused(
    old: dict[str, tuple[type, bool]], new: dict[str, tuple[type, bool]]
) -> None:
    """The smallest message of one side that the other does not understand is a break."""
    before, after = model(old), model(new)
    smallest = [
        (writer(**{n: kind() for n, (kind, needed) in fields.items() if needed}), reader)
        for writer, fields, reader in ((before, old, after), (after, new, before))
    ]
    if not all(understood(written, reader) for written, reader in smallest):
        assert breaks(document(before.model_json_schema()), document(after.model_json_schema()))
