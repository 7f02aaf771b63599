"""Kafka by confluent-kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from shop.broker.port import BrokerUnavailable, Received
from shop.messages import Record
from shop.settings import Settings

WAIT = 10.0
"""Seconds for what is sent to be acknowledged."""

LOOK = 2.0
"""Seconds for an answer, and for a record that is there to come."""

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

    def onlooker(self, group: str, topic: str) -> _Onlooker:
        """See ``Broker``."""
        return _Onlooker(self._settings, group, topic)


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


class _Onlooker:
    def __init__(self, settings: Settings, group: str, topic: str) -> None:
        self._topic = settings.shop_prefix + topic
        # its offsets are asked for; the group is not joined
        options = {"group.id": settings.shop_prefix + group, "enable.auto.commit": False}
        # a fetch that waits for more would keep the next question waiting, too
        options |= {"auto.offset.reset": "earliest", "fetch.wait.max.ms": 10}
        self._consumer = Consumer(_options(settings) | options)

    def oldest(self) -> float | None:
        """See ``Onlooker``."""
        try:
            topic = self._consumer.list_topics(self._topic, timeout=LOOK).topics[self._topic]
            times = [self._time(TopicPartition(self._topic, number)) for number in topic.partitions]
        except KafkaException as error:
            raise BrokerUnavailable(str(error)) from error
        return min((time for time in times if time is not None), default=None)

    def close(self) -> None:
        """See ``Onlooker``."""
        self._consumer.close()

    def _time(self, partition: TopicPartition) -> float | None:
        """When the first record came that is not committed."""
        [committed] = self._consumer.committed([partition], timeout=LOOK)
        begin, end = self._consumer.get_watermark_offsets(partition, timeout=LOOK)
        done = max(begin, committed.offset)  # without a commit the offset is below 0
        if done == end:
            return None
        self._consumer.assign([TopicPartition(self._topic, partition.partition, done)])
        found = self._consumer.poll(LOOK)
        self._consumer.unassign()
        return None if found is None or found.error() else found.timestamp()[1] / 1000


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _options(settings: Settings) -> dict[str, Any]:
    options = {NAMES[name]: value for name, value in settings.kafka().items()}
    return options | {"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": 3}
