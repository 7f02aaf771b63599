"""What may change in a message while old and new programs talk to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

WORDS = {"title", "description", "examples"}
"""What a schema says to people, and to no program."""


def breaks(old: Schema, new: Schema) -> list[str]:
    """What an AsyncAPI document breaks that kept to another one before: a sentence each.

    During a deployment, and for as long as messages are kept, old producers speak to new consumers
    and new producers to old consumers. A reader leaves out what it does not know, so a message may
    get a field that it can do without. Whatever else changes is a message of its own: a v2 beside
    the v1, which is sent until everybody reads the other.
    """
    found = []
    for channel, before in old["channels"].items():
        there = new["channels"].get(channel, {"messages": {}})["messages"]
        for name in before["messages"]:
            if name not in there:
                found.append(f"{name} is not on {channel} any more: send it until nobody reads it.")
                continue
            changes = _changes(_payload(old, name), _payload(new, name))
            found += [f"{name} {change}: make a {_next(name)}." for change in changes]
    return found


def _changes(old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    needed, needs = set(old.get("required", [])), set(new.get("required", []))
    for field in before:
        if field not in after:
            yield f"lost the field {field}"
        elif _bare(before[field]) != _bare(after[field]):
            yield f"changed the field {field}"
        elif field in needs - needed:
            yield f"cannot do without the field {field} any more, which old producers leave out"
        elif field in needed - needs:
            yield f"may come without the field {field}, which old consumers need"
    for field in after:
        if field not in before and field in needs:
            yield f"needs the new field {field}, which old producers do not send"
    if _rest(old) != _rest(new):
        yield "changed in what it is beside its fields"


def _rest(schema: Schema) -> Any:
    return _bare({k: v for k, v in schema.items() if k not in ("properties", "required")})


def _bare(schema: Any) -> Any:
    """A schema without what only people read; what a field is called may be called ``title``."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {field: _bare(each) for field, each in value.items()}
        if name == "properties"
        else _bare(value)
        for name, value in schema.items()
        if name not in WORDS
    }


def _payload(document: Schema, name: str) -> Schema:
    schema: Schema = _resolved(document["components"]["messages"][name]["payload"], document)
    return schema


def _resolved(schema: Any, document: Schema) -> Any:
    """A schema with that what it refers to in the reference's place."""
    if isinstance(schema, list):
        return [_resolved(each, document) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(target := schema.get("$ref"), str):
        found: Any = document
        for step in target.removeprefix("#/").split("/"):
            found = found[step]
        return _resolved(found, document)
    return {name: _resolved(value, document) for name, value in schema.items()}


def _next(name: str) -> str:
    version = name.rpartition(".v")[2]
    return f"v{int(version) + 1}"
