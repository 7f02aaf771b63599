"""One record to a topic of its own and back: the proof that a Kafka serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaTimeoutError

from shoplab.servers.kafka.coordinators import await_coordinators


def round_trip(
    kafka: Mapping[str, Any],
    topic: str,
    *,
    assignments: Mapping[int, list[int]] | None = None,
    timeout_ms: int = 5000,
) -> None:
    """Create ``topic``, write a record, read it back, await group coordinators, delete the topic.

    ``assignments`` says which brokers hold its partition; without it the cluster decides. Each step
    may take ``timeout_ms``. Errors are ``kafka-python``'s.
    """
    quick = {**kafka, "retry_backoff_ms": 10, "bootstrap_timeout_ms": timeout_ms}
    admin = KafkaAdminClient(**quick)
    try:
        where = {"assignments": assignments} if assignments else {"num_partitions": 1}
        admin.create_topics({topic: where}, timeout_ms=timeout_ms)
        try:
            _write_and_read(quick, topic, timeout_ms)
            await_coordinators(admin)
        finally:
            admin.delete_topics([topic])
    finally:
        admin.close()


def _write_and_read(kafka: Mapping[str, Any], topic: str, timeout_ms: int) -> None:
    producer = KafkaProducer(**kafka, acks="all", max_block_ms=timeout_ms)
    try:
        producer.send(topic, b"ready").get(timeout_ms / 1000)
    finally:
        producer.close(timeout=2)
    consumer = KafkaConsumer(**kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        consumer.assign([TopicPartition(topic, 0)])
        if not consumer.poll(timeout_ms=timeout_ms):
            raise KafkaTimeoutError("it does not give back what was written")
    finally:
        consumer.close()
