"""What a message is, and how it travels: as a CloudEvent, its body checked against its class."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import uuid4

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event, to_binary_event
from cloudevents.core.v1.event import CloudEvent
from pydantic import BaseModel, ConfigDict, Field


class Message(BaseModel):
    """The body of a command or an event about one order.

    Fields that a reader does not know are left out, so that a producer may add some. What is wrong
    with a body is told without the body, since it is told to logs.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)
    topic: ClassVar[str]

    order_id: str = Field(min_length=1)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        KNOWN[cls.kind()] = cls

    @classmethod
    def kind(cls) -> str:
        """The CloudEvent's type; another version would be another type."""
        return f"shop.{cls.__name__}.v1"


KNOWN: dict[str, type[Message]] = {}
"""Each message there is, by its CloudEvent's type."""


@dataclass(frozen=True)
class Record:
    """What a broker carries. Records of one ``key`` stay in their sequence."""

    topic: str
    key: str
    value: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Envelope:
    """A message with the CloudEvent's ``id`` and ``time``, and the ``trace`` that it belongs to."""

    id: str
    message: Message
    trace: str = ""
    time: datetime | None = None


class Unreadable(ValueError):
    """A record that is no message of ours, or whose body is not what its type says."""


def sealed(message: Message, source: str, trace: str = "") -> Record:
    """A message as the record that is sent."""
    attributes: dict[str, Any] = {
        "id": str(uuid4()),
        "type": message.kind(),
        "source": source,
        "subject": message.order_id,
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
    }
    if trace:
        attributes["traceparent"] = trace
    event = to_binary_event(CloudEvent(attributes, message.model_dump(mode="json")))
    headers = {name: value.decode() for name, value in event.headers.items()}
    return Record(message.topic, message.order_id, event.value, headers)


def opened(record: Record) -> Envelope:
    """The message in a record. Raises ``Unreadable``."""
    headers = {name: value.encode() for name, value in record.headers.items()}
    try:
        headers["ce_id"]  # else one would be made up, and each repetition be new
        event = from_binary_event(KafkaMessage(headers, record.key.encode(), record.value))
        data = event.get_data()
        body = data if isinstance(data, dict) else json.loads(data or "")
        message = KNOWN[event.get_type()].model_validate(body)
    except KeyError as error:
        raise Unreadable(f"No message of ours: {error}") from error
    except Exception as error:  # whatever a stranger may have sent
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    trace = str(event.get_extension("traceparent") or "")
    return Envelope(event.get_id(), message, trace, event.get_time())
