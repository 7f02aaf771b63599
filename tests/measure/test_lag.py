"""Lag is what is written and not yet committed, from the first sample to the last."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import BrokerResponseError
from kafka.structs import OffsetAndMetadata

from shoplab.errors import LagError
from shoplab.measure.lag import LagRecording, predict_lag, watch_lag
from shoplab.servers.kafka.cluster import Cluster
from shoplab.waiting import until

Settings = dict[str, Any]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("home")
    cluster = Cluster(home / "kafka", home)
    cluster.start()
    yield cluster.settings()
    cluster.stop()


@pytest.fixture
def topic(kafka: Settings, request: pytest.FixtureRequest) -> str:
    admin = KafkaAdminClient(**kafka)
    name = f"{request.node.name}"
    admin.create_topics({name: {"num_partitions": 2}})
    admin.close()
    return name


def write(kafka: Settings, topic: str, count: int) -> None:
    producer = KafkaProducer(**kafka)
    for index in range(count):
        producer.send(topic, json.dumps(index).encode(), partition=index % 2)
    producer.flush(10)
    producer.close(timeout=5)


def handle(kafka: Settings, topic: str, group: str, count: int) -> None:
    """Handle ``count`` records and commit what was handled."""
    consumer = KafkaConsumer(
        topic,
        **kafka,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=10,
    )
    handled = 0
    while handled < count:
        for partition, records in consumer.poll(timeout_ms=1000).items():
            handled += len(records)
            consumer.commit({partition: OffsetAndMetadata(records[-1].offset + 1, "", -1)})
    consumer.close()


def wait_for_samples(recording: LagRecording, count: int) -> None:
    wanted = len(recording.times) + count
    until(lambda: len(recording.times) >= wanted)


def test_lag_rises_with_what_is_written_and_falls_with_what_is_committed(
    kafka: Settings, topic: str
) -> None:
    write(kafka, topic, 10)
    with watch_lag(kafka, topic, "email", interval=0.05) as recording:
        assert recording.lag[0] == 10  # without a commit, everything is still to do
        write(kafka, topic, 90)
        wait_for_samples(recording, 2)
        assert recording.lag[-1] == 100
        assert recording.drained_at is None
        handle(kafka, topic, "email", 100)
    assert recording.lag[-1] == 0
    assert recording.peak == 100
    assert recording.end[-1] == recording.committed[-1] == 100
    assert np.all(np.diff(recording.times) > 0)
    assert np.all(recording.lag >= 0)
    assert recording.drained_at is not None and recording.drained_at > 0
    assert str(recording).startswith(f"lag of email on {topic}: peak 100, drained after ")


def test_samples_come_at_their_interval(kafka: Settings, topic: str) -> None:
    with watch_lag(kafka, topic, "email", interval=0.05) as recording:
        wait_for_samples(recording, 20)
    assert 0.03 < np.median(np.diff(recording.times)) < 0.12


def test_the_last_sample_is_taken_after_the_block(kafka: Settings, topic: str) -> None:
    with watch_lag(kafka, topic, "email", interval=60) as recording:
        write(kafka, topic, 4)
    assert recording.lag[-1] == 4


def test_a_topic_that_is_missing_fails_at_once(kafka: Settings) -> None:
    with (
        pytest.raises(LagError, match="lag of email on nowhere cannot be read"),
        watch_lag(kafka, "nowhere", "email"),
    ):
        pytest.fail("the block must not run")


def test_a_failure_in_mid_run_is_raised_when_the_block_ends(
    kafka: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()
    works = KafkaAdminClient.list_group_offsets

    def fails_once(*arguments: Any) -> Any:
        if failed.is_set():
            return works(*arguments)
        failed.set()
        raise BrokerResponseError("no authority")

    with (
        pytest.raises(LagError, match="no authority"),
        watch_lag(kafka, topic, "email", interval=0.01),
    ):
        monkeypatch.setattr(KafkaAdminClient, "list_group_offsets", fails_once)
        assert failed.wait(10)


def test_the_error_of_the_block_is_the_one_that_is_seen(kafka: Settings, topic: str) -> None:
    with pytest.raises(KeyError), watch_lag(kafka, topic, "email"):
        raise KeyError


def test_nothing_is_left_running(kafka: Settings, topic: str) -> None:
    before = set(threading.enumerate())
    with watch_lag(kafka, topic, "email"):
        pass
    assert set(threading.enumerate()) <= before


def test_the_prediction_is_the_arithmetic_of_the_text() -> None:
    prediction = predict_lag(10_000, within=1.0, rate=500)
    assert prediction.peak == 9_500
    assert prediction.drained_at == 20.0
    later = predict_lag(10_000, within=1.0, rate=500, start=0.5)
    assert later.drained_at == 20.5
    assert predict_lag(100, within=1.0, rate=500).peak == 0


def test_partitions_are_those_of_the_topic(kafka: Settings, topic: str) -> None:
    write(kafka, topic, 3)
    consumer = KafkaConsumer(**kafka)
    ends = consumer.end_offsets([TopicPartition(topic, 0), TopicPartition(topic, 1)])
    consumer.close()
    with watch_lag(kafka, topic, "email") as recording:
        pass
    assert recording.end[-1] == sum(ends.values()) == 3
