"""What a topic holds, read from its first record to its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import UnknownTopicOrPartitionError

from shoplab.errors import DeadlineError

PATIENCE = 30.0
"""Seconds without a record, because a leader is being elected say, before the reading gives up."""


def read_records(
    kafka: Mapping[str, Any], topic: str, *, patience: float = PATIENCE, **settings: Any
) -> list[ConsumerRecord]:
    """Every record of a topic, from the first one left to the end that it has at the call.

    ``kafka`` are a client's settings, ``settings`` the consumer's own, such as
    ``isolation_level``. Records of one partition keep their order. No group is joined and no offset
    committed, so nobody's place in the topic moves. ``DeadlineError`` after ``patience`` seconds
    without a record; other errors are ``kafka-python``'s.
    """
    with closing(KafkaConsumer(**kafka, auto_offset_reset="earliest", **settings)) as consumer:
        numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            raise UnknownTopicOrPartitionError(topic)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        records: list[ConsumerRecord] = []
        last = time.monotonic()
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for partition, batch in consumer.poll(timeout_ms=500).items():
                records += [record for record in batch if record.offset < ends[partition]]
                last = time.monotonic()
            if time.monotonic() - last > patience:
                raise DeadlineError(
                    f"{topic} gave {len(records)} records, then none for {patience:g} s; "
                    f"it ends at {', '.join(map(str, ends.values()))}.",
                    next_step="check that the cluster is up and every partition has a leader",
                )
    return records
