"""What the shop says to the world, as documents: OpenAPI for HTTP, AsyncAPI for messages.

Both are made from the code, by `python -m shop document`, and checked in under ``contracts/``: a
change of what others rely on shows in the diff, and one that would break them is not written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.json_schema import models_json_schema

from shop.compatibility import breaks
from shop.http import application
from shop.messages import KNOWN, Message, sealed
from shop.settings import Settings
from shop.wiring import wire

CONTRACTS = Path(__file__).parent / "contracts"

Document = dict[str, Any]
Workers = Mapping[str, tuple[str, type]]
"""What each worker listens to, and the class that handles it: ``WORKERS`` of the program."""


class Incompatible(Exception):
    """What others rely on would break."""


def openapi() -> Document:
    """What the shop answers over HTTP."""
    nowhere = Settings(
        database_url=SecretStr("postgresql://"),
        redis_url=SecretStr("redis://"),
        kafka_bootstrap_servers="",
    )
    return application(wire(nowhere), nowhere).openapi()


def asyncapi(workers: Workers) -> Document:
    """Every message, the channel that it travels on, who sends it and who receives it."""
    schemas, definitions = models_json_schema(
        [(message, "validation") for message in ours()],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Shop",
            "version": "1",
            "description": "Messages are CloudEvents in binary mode. What a receiver cannot handle"
            " is put aside on the channel with `.dead` after its address.",
        },
        "defaultContentType": "application/json",
        "channels": {
            topic: {
                "address": topic,
                "messages": {_name(m): _ref("components/messages", _name(m)) for m in _on(topic)},
            }
            for topic in sorted({message.topic for message in ours()})
        },
        "operations": _operations(workers),
        "components": {
            "messages": {
                _name(message): {
                    "name": message.kind(),
                    "summary": (message.__doc__ or "").strip(),
                    "headers": _headers(message),
                    "payload": schemas[message, "validation"],
                    "bindings": {"kafka": {"key": {"type": "string"}}},
                }
                for message in ours()
            },
            "schemas": definitions["$defs"],
        },
    }


def write(workers: Workers, folder: Path) -> list[Path]:
    """Write both documents. Raises ``Incompatible`` if a message would break its readers."""
    made = {"openapi.json": openapi(), "asyncapi.json": asyncapi(workers)}
    before = folder / "asyncapi.json"
    if before.exists() and (found := breaks(json.loads(before.read_text()), made[before.name])):
        raise Incompatible("\n".join(found))
    for name, document in made.items():
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in made]


def _operations(workers: Workers) -> Document:
    """Who receives and who sends what.

    A worker receives what is on the topic that it listens to. It sends the other messages that its
    service knows: nobody else's words are imported there for another reason.
    """
    operations: Document = {}
    for worker, (listens_to, service) in workers.items():
        received = _on(listens_to)
        operations[f"{worker}.receives.{listens_to}"] = _operation("receive", listens_to, received)
        imported = list(vars(sys.modules[service.__module__]).values())
        known = [message for message in ours() if message in imported]
        for topic in sorted({message.topic for message in known} - {listens_to}):
            sent = [message for message in known if message.topic == topic]
            operations[f"{worker}.sends.{topic}"] = _operation("send", topic, sent)
    return operations


def _operation(action: str, topic: str, messages: list[type[Message]]) -> Document:
    return {
        "action": action,
        "channel": _ref("channels", topic),
        "messages": [_ref(f"channels/{topic}/messages", _name(message)) for message in messages],
    }


def _headers(message: type[Message]) -> Document:
    """The headers that a sealed message has; those of the trace only if there is one."""
    example = message.model_construct(order_id="1")
    always, all_of_them = (sealed(example, "someone", trace).headers for trace in ("", "00-1-2-01"))
    fixed = ("ce_specversion", "ce_type", "content-type")
    return {
        "type": "object",
        "required": list(always),
        "properties": {
            name: {"type": "string"} | ({"const": value} if name in fixed else {})
            for name, value in all_of_them.items()
        },
    }


def ours() -> list[type[Message]]:
    """The shop's own; whoever builds on it may have made messages too."""
    known = [KNOWN[kind] for kind in sorted(KNOWN)]
    return [message for message in known if message.__module__.startswith("shop.")]


def _on(topic: str) -> list[type[Message]]:
    return [message for message in ours() if message.topic == topic]


def _name(message: type[Message]) -> str:
    return message.kind().removeprefix("shop.")


def _ref(where: str, name: str) -> Document:
    return {"$ref": f"#/{where}/{name}"}
