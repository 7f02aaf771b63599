"""Kafka by confluent-kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from shop.broker.port import BrokerUnavailable, Received
from shop.messages import Record
from shop.settings import Settings

WAIT = 10.0
"""Seconds for what is sent to be acknowledged."""

NAMES = {
    "bootstrap_servers": "bootstrap.servers",
    "security_protocol": "security.protocol",
    "sasl_mechanism": "sasl.mechanism",
    "sasl_plain_username": "sasl.username",
    "sasl_plain_password": "sasl.password",
    "ssl_cafile": "ssl.ca.location",
}
"""How this client calls what kafka-python calls otherwise."""

LOST = {
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._STATE,
    KafkaError._NO_OFFSET,
}
"""Why a commit may come too late: others have the partitions, and will see the messages again."""


class ConfluentBroker:
    """A ``Broker``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def create_topics(self, topics: Sequence[str]) -> None:
        """See ``Broker``."""
        partitions, replicas = self._settings.shop_partitions, self._settings.shop_replicas
        wanted = [
            NewTopic(self._settings.shop_prefix + topic, partitions, replicas) for topic in topics
        ]
        admin = AdminClient(_options(self._settings))
        for future in admin.create_topics(wanted).values():
            try:
                future.result(timeout=WAIT)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def publisher(self) -> _Publisher:
        """See ``Broker``."""
        return _Publisher(self._settings)

    def subscriber(self, group: str, topics: Sequence[str]) -> _Subscriber:
        """See ``Broker``."""
        return _Subscriber(self._settings, group, topics)


class _Publisher:
    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.shop_prefix
        options = {"acks": "all", "enable.idempotence": True, "linger.ms": 5}
        timeout = {"message.timeout.ms": int(1000 * WAIT)}
        self._producer = Producer(_options(settings) | options | timeout)

    def publish(self, records: Sequence[Record]) -> None:
        """See ``Publisher``."""
        failed: list[KafkaError] = []

        def told(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                failed.append(error)

        for record in records:
            self._producer.produce(
                self._prefix + record.topic,
                record.value,
                record.key,
                headers=list(record.headers.items()),
                on_delivery=told,
            )
        left = self._producer.flush(WAIT + 1)
        if failed or left:
            raise BrokerUnavailable(str(failed[0]) if failed else f"{left} not acknowledged.")

    def close(self) -> None:
        """See ``Publisher``."""
        self._producer.flush(WAIT)


class _Subscriber:
    def __init__(self, settings: Settings, group: str, topics: Sequence[str]) -> None:
        self._prefix = settings.shop_prefix
        options = {
            "group.id": self._prefix + group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": True,
            "session.timeout.ms": int(1000 * settings.shop_session),
            "heartbeat.interval.ms": int(300 * settings.shop_session),
        }
        self._consumer = Consumer(_options(settings) | options)
        self._consumer.subscribe([self._prefix + topic for topic in topics])

    def poll(self, seconds: float) -> list[Received]:
        """See ``Subscriber``."""
        found = self._consumer.consume(1, timeout=seconds)
        if found:
            found += self._consumer.consume(199, timeout=0)
        received = []
        for each in found:
            if (error := each.error()) is not None:
                raise BrokerUnavailable(str(error))
            headers = {str(n): _text(value) for n, value in dict(each.headers() or []).items()}
            topic = str(each.topic()).removeprefix(self._prefix)
            record = Record(topic, _text(each.key()), each.value() or b"", headers)
            received.append(Received(record, each.partition() or 0, each.offset() or 0))
        return received

    def commit(self) -> None:
        """See ``Subscriber``."""
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in LOST:
                raise BrokerUnavailable(str(error)) from error

    def close(self) -> None:
        """See ``Subscriber``."""
        self._consumer.close()


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _options(settings: Settings) -> dict[str, Any]:
    options = {NAMES[name]: value for name, value in settings.kafka().items()}
    return options | {"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": 3}
