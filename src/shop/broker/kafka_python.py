"""Kafka by kafka-python."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import CommitFailedError, KafkaError, TopicAlreadyExistsError

from shop.broker.port import BrokerUnavailable, Received
from shop.messages import Record
from shop.settings import Settings

WAIT = 10.0
"""Seconds for what is sent to be acknowledged, and for a client to close."""

LOOK = 2.0
"""Seconds for a record that is there to come."""


class KafkaPythonBroker:
    """A ``Broker``."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._kafka = settings, settings.kafka()

    def create_topics(self, topics: Sequence[str]) -> None:
        """See ``Broker``."""
        each = {
            "num_partitions": self._settings.shop_partitions,
            "replication_factor": self._settings.shop_replicas,
        }
        admin = KafkaAdminClient(**self._kafka)
        try:
            there = set(admin.list_topics())
            for topic in topics:
                name = self._settings.shop_prefix + topic
                if name not in there:
                    with suppress(TopicAlreadyExistsError):  # by another of us, just now
                        admin.create_topics({name: each})
        finally:
            admin.close()

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
        self._producer = KafkaProducer(
            acks="all", enable_idempotence=True, linger_ms=5, **settings.kafka()
        )

    def publish(self, records: Sequence[Record]) -> None:
        """See ``Publisher``."""
        try:
            sent = [
                self._producer.send(
                    self._prefix + record.topic,
                    record.value,
                    key=record.key.encode(),
                    headers=[(name, value.encode()) for name, value in record.headers.items()],
                )
                for record in records
            ]
            self._producer.flush(timeout=WAIT)
            for each in sent:
                each.get(timeout=WAIT)
        except KafkaError as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """See ``Publisher``."""
        self._producer.close(timeout=WAIT)


class _Subscriber:
    def __init__(self, settings: Settings, group: str, topics: Sequence[str]) -> None:
        self._prefix = settings.shop_prefix
        self._consumer = KafkaConsumer(
            *[self._prefix + topic for topic in topics],
            group_id=self._prefix + group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=200,
            session_timeout_ms=int(1000 * settings.shop_session),
            heartbeat_interval_ms=int(300 * settings.shop_session),
            **settings.kafka(),
        )

    def poll(self, seconds: float) -> list[Received]:
        """See ``Subscriber``."""
        try:
            found = self._consumer.poll(timeout_ms=int(1000 * seconds))
        except KafkaError as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        return [self._received(each) for records in found.values() for each in records]

    def commit(self) -> None:
        """See ``Subscriber``."""
        try:
            self._consumer.commit()
        except CommitFailedError:
            pass  # the group gave our partitions to others, who will see the messages again
        except KafkaError as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """See ``Subscriber``."""
        self._consumer.close(autocommit=False)

    def _received(self, found: ConsumerRecord) -> Received:
        headers = {name: (value or b"").decode() for name, value in found.headers}
        record = Record(
            found.topic.removeprefix(self._prefix),
            (found.key or b"").decode(),
            found.value or b"",
            headers,
        )
        return Received(record, found.partition, found.offset)


class _Onlooker:
    def __init__(self, settings: Settings, group: str, topic: str) -> None:
        self._topic = settings.shop_prefix + topic
        self._consumer = KafkaConsumer(
            group_id=settings.shop_prefix + group,  # its offsets are asked for; it is not joined
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=1,
            max_partition_fetch_bytes=1,  # a broker sends one batch all the same
            **settings.kafka(),
        )

    def oldest(self) -> float | None:
        """See ``Onlooker``."""
        try:
            numbers = self._consumer.partitions_for_topic(self._topic) or ()
            times = [self._time(TopicPartition(self._topic, number)) for number in numbers]
        except KafkaError as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        return min((time for time in times if time is not None), default=None)

    def close(self) -> None:
        """See ``Onlooker``."""
        self._consumer.close(autocommit=False)

    def _time(self, partition: TopicPartition) -> float | None:
        """When the first record came that is not committed."""
        self._consumer.assign([partition])
        begin = self._consumer.beginning_offsets([partition])[partition]
        done = max(begin, self._consumer.committed(partition) or 0)
        if done == self._consumer.end_offsets([partition])[partition]:
            return None
        self._consumer.seek(partition, done)
        found = self._consumer.poll(timeout_ms=int(1000 * LOOK)).get(partition)
        return found[0].timestamp / 1000 if found else None
