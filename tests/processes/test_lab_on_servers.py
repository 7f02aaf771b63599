"""The Lab on live servers: topics, a schema, and context that crosses Kafka."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import UnknownTopicOrPartitionError
from kafka.structs import OffsetAndMetadata
from sqlalchemy import NullPool, create_engine, inspect, make_url, text
from sqlalchemy.exc import OperationalError

from shoplab import Lab
from shoplab.errors import DeadlineError, LagError
from shoplab.measure.records import read_records
from shoplab.measure.spans import handling, sending


@pytest.fixture
def traced():
    with Lab("00-0", service="customer") as lab:
        yield lab


def topics_of(kafka):
    admin = KafkaAdminClient(**kafka)
    try:
        return set(admin.list_topics())
    finally:
        admin.close()


def test_a_topic_is_new_and_empty_each_time_and_is_dropped_at_the_end(lab):
    orders = lab.topic("orders", partitions=3)
    again = lab.topic("orders")
    other = lab.topic("order")
    kafka = lab.kafka
    assert orders == f"orders-{lab.suffix}"
    assert again == f"orders-{lab.suffix}-2"
    assert other == f"order-{lab.suffix}"
    assert {orders, again, other} <= topics_of(kafka)
    producer = KafkaProducer(**kafka)
    assert producer.partitions_for(orders) == {0, 1, 2}
    producer.close(timeout=5)

    with Lab("00-0", traced=False) as witness:  # its lease keeps the servers
        assert witness.kafka == kafka
        lab.close()
        witness.until(lambda: not {orders, again, other} & topics_of(kafka))


def test_topic_settings_are_written_with_underscores(lab):
    orders = lab.topic("orders", retention_bytes=1_000_000, unclean_leader_election_enable=True)
    admin = KafkaAdminClient(**lab.kafka)
    try:
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, orders)])
    finally:
        admin.close()
    settings = described["topic"][orders]
    assert settings["retention.bytes"]["value"] == "1000000"
    assert settings["unclean.leader.election.enable"]["value"] == "true"


def test_the_database_has_a_schema_of_the_run_and_drops_it_at_the_end(lab):
    with Lab("00-0", traced=False) as other:
        engines = [create_engine(each.database_url) for each in (lab, other)]
        for number, engine in enumerate(engines):
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE orders (id int)"))
                connection.execute(text("INSERT INTO orders VALUES (:id)"), {"id": number})
        for number, engine in enumerate(engines):
            with engine.begin() as connection:
                assert connection.execute(text("SELECT id FROM orders")).scalars().all() == [number]
        schema = f"lab_test_{lab.suffix}"
        assert schema in inspect(engines[1]).get_schema_names()
        engines[0].dispose()
        lab.close()
        assert schema not in inspect(engines[1]).get_schema_names()
        engines[1].dispose()


LEAVING = """
from shoplab import Lab
lab = Lab("leaving", traced=False)
print(lab.topic("orders"), lab.database_url and f"lab_leaving_{lab.suffix}")
"""


def test_an_interpreter_that_exits_waits_for_no_server(lab):
    kafka, engine = lab.kafka, create_engine(lab.database_url, poolclass=NullPool)
    done = subprocess.run(
        [sys.executable, "-c", LEAVING], capture_output=True, text=True, check=True, timeout=60
    )
    topic, schema = done.stdout.split()
    assert topic in topics_of(kafka)
    assert schema in inspect(engine).get_schema_names()


def test_a_transaction_left_open_does_not_hold_up_the_end(lab):
    worker = lab.run(time.sleep, 60)
    engine = create_engine(lab.database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id int)"))
    with engine.connect() as connection:
        connection.execute(text("SELECT id FROM orders"))
        with pytest.raises(OperationalError, match="lock timeout"):
            lab.close()
    assert not worker.alive and not lab.directory.exists()
    engine.dispose()


def test_a_worker_reads_what_the_notebook_sends(lab):
    def count(kafka, topic, expected):
        consumer = KafkaConsumer(topic, auto_offset_reset="earliest", **kafka)
        seen = [next(consumer).value.decode() for _ in range(expected)]
        consumer.close(timeout_ms=1000)
        return seen

    orders = lab.topic("orders")
    worker = lab.run(count, lab.kafka, orders, 3)
    producer = KafkaProducer(**lab.kafka)
    for number in range(3):
        producer.send(orders, str(number).encode())
    producer.close(timeout=5)
    assert worker.result() == ["0", "1", "2"]


def order_service(kafka, orders):
    from fastapi import FastAPI

    app = FastAPI()
    producer = KafkaProducer(**kafka)

    @app.post("/orders")
    def place():
        with sending(orders) as headers:
            producer.send(orders, b"tea", headers=headers).get(timeout=5)
        return {"accepted": True}

    return app


def email_worker(kafka, orders, link):
    consumer = KafkaConsumer(orders, auto_offset_reset="earliest", **kafka)
    record = next(consumer)
    with handling(record, link=link):
        pass
    consumer.close(timeout_ms=1000)


@pytest.mark.parametrize("link", [False, True])
def test_a_trace_crosses_kafka_in_the_headers(traced, link):
    orders = traced.topic("orders")
    email = traced.run(email_worker, traced.kafka, orders, link)
    order = traced.serve(order_service, traced.kafka, orders)
    requests.post(f"{order.url}/orders", timeout=10)
    assert email.wait() == 0

    spans = traced.until(lambda: len(found := traced.spans()) == 4 and found)
    client, server, sent, handled = spans
    assert [span.kind for span in spans] == ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"]
    assert (sent.service, handled.service) == ("order_service", "email_worker")
    assert sent.parent_id == server.span_id and server.parent_id == client.span_id
    if link:
        assert handled.links == ((sent.trace_id, sent.span_id),)
        assert handled.trace_id != sent.trace_id
    else:
        assert (handled.trace_id, handled.parent_id) == (sent.trace_id, sent.span_id)


def test_a_topic_on_a_cluster_of_ones_own(lab):
    cluster = lab.cluster(brokers=1)
    orders = lab.topic("orders", cluster=cluster)
    assert orders in topics_of(cluster.kafka)
    assert orders not in topics_of(lab.kafka)


def test_members_counts_the_consumers_that_have_their_partitions(lab):
    def read(kafka, topic, group):
        for _ in KafkaConsumer(topic, group_id=group, **kafka):
            pass

    orders, group = lab.topic("orders", partitions=2), lab.name("email")
    assert lab.members(group) == 0
    first = lab.run(read, lab.kafka, orders, group)
    lab.until(lambda: lab.members(group) == 1, timeout=30)
    lab.run(read, lab.kafka, orders, group)
    lab.until(lambda: lab.members(group) == 2, timeout=30)
    first.stop()


def test_an_assignment_is_what_the_members_themselves_hold(lab):
    def read(kafka, topics, group, name, file):
        consumer = KafkaConsumer(*topics, group_id=group, client_id=name, **kafka)
        while True:
            consumer.poll(timeout_ms=50)
            file.write_text(repr(sorted(map(tuple, consumer.assignment()))))

    topics, group = [lab.topic("orders", partitions=3), lab.topic("payments")], lab.name("email")
    every = {TopicPartition(topics[0], number) for number in range(3)}
    every.add(TopicPartition(topics[1], 0))
    assert lab.assignment(group) == {}

    def start(name):
        file = lab.directory / f"held-by-{name}"
        lab.run(read, lab.kafka, topics, group, name, file, name=name)
        return name, file

    def agreed():
        held = lab.assignment(group)
        return held.keys() == files.keys() and all(
            file.exists() and file.read_text() == repr(sorted(map(tuple, held[name])))
            for name, file in files.items()
        )

    files = dict([start("first")])
    lab.until(agreed, timeout=30)
    assert lab.assignment(group) == {"first": every}
    files |= dict([start("second"), start("third")])
    lab.until(agreed, timeout=30)
    shares = lab.assignment(group).values()
    assert set.union(*shares) == every and sum(map(len, shares)) == len(every)


def test_members_of_one_name_are_told_apart_in_an_assignment(lab):
    def read(kafka, topic, group):
        for _ in KafkaConsumer(topic, group_id=group, client_id="email", **kafka):
            pass

    orders, group = lab.topic("orders", partitions=2), lab.name("email")
    for _ in range(2):
        lab.run(read, lab.kafka, orders, group)
    lab.until(lambda: lab.members(group) == 2, timeout=30)
    held = lab.assignment(group)
    assert len(held) == 2 and all(name.startswith("email-") for name in held)
    assert sorted(held.values(), key=str) == [{TopicPartition(orders, n)} for n in range(2)]


def test_lag_is_what_the_group_has_yet_to_handle(lab):
    orders, group = lab.topic("orders", partitions=2), lab.name("email")
    producer = KafkaProducer(**lab.kafka)
    for number in range(6):
        producer.send(orders, b"placed", partition=number % 2)
    producer.flush()
    assert lab.lag(orders, group) == 6  # nothing committed yet
    consumer = KafkaConsumer(group_id=group, enable_auto_commit=False, **lab.kafka)
    consumer.assign([TopicPartition(orders, 0)])
    consumer.commit({TopicPartition(orders, 0): OffsetAndMetadata(2, "", -1)})
    assert lab.lag(orders, group) == 4
    assert lab.lag(orders, lab.name("analytics")) == 6
    with pytest.raises(LagError, match="no-such-topic"):
        lab.lag("no-such-topic", group)


def test_lag_and_members_of_a_cluster_of_ones_own(lab):
    cluster = lab.cluster(brokers=1)
    orders, group = lab.topic("orders", cluster=cluster), lab.name("email")
    producer = KafkaProducer(**cluster.kafka)
    producer.send(orders, b"placed").get(timeout=10)
    with lab.watch_lag(orders, group, cluster=cluster) as recording:
        assert lab.lag(orders, group, cluster=cluster) == 1
        consumer = KafkaConsumer(
            orders, group_id=group, auto_offset_reset="earliest", **cluster.kafka
        )
        next(consumer)
        assert lab.members(group, cluster=cluster) == 1
        assert lab.members(group) == 0
        (held,) = lab.assignment(group, cluster=cluster).values()
        assert held == consumer.assignment() and not lab.assignment(group)
        consumer.commit()
        consumer.close()
    producer.close()
    assert list(recording.lag[[0, -1]]) == [1, 0]
    assert lab.lag(orders, group, cluster=cluster) == 0
    with pytest.raises(LagError, match=orders):
        lab.lag(orders, group)


def test_records_are_all_that_a_topic_holds_and_move_nobodys_place(lab):
    orders = lab.topic("orders", partitions=2)
    assert lab.records(orders) == []
    producer = KafkaProducer(**lab.kafka)
    for number in range(1500):  # more than one poll returns
        producer.send(orders, str(number).encode(), partition=number % 2)
    producer.flush()
    KafkaAdminClient(**lab.kafka).delete_records({TopicPartition(orders, 0): 1})
    for _ in range(2):
        records = lab.records(orders)
        for partition, numbers in ((0, range(2, 1500, 2)), (1, range(1, 1500, 2))):
            values = [int(record.value) for record in records if record.partition == partition]
            assert values == list(numbers)


def test_records_of_a_cluster_and_only_what_is_committed(lab):
    cluster = lab.cluster(brokers=1)
    orders = lab.topic("orders", cluster=cluster)
    producer = KafkaProducer(transactional_id="shop", **cluster.kafka)
    producer.init_transactions()
    for value, end in (
        (b"kept", producer.commit_transaction),
        (b"not", producer.abort_transaction),
    ):
        producer.begin_transaction()
        producer.send(orders, value).get(timeout=10)
        end()
    both = lab.records(orders, cluster=cluster)
    kept = lab.records(orders, cluster=cluster, isolation_level="read_committed")
    assert [record.value for record in both] == [b"kept", b"not"]
    assert [record.value for record in kept] == [b"kept"]


def test_records_of_a_topic_that_is_not_there_or_gives_nothing(lab):
    with pytest.raises(UnknownTopicOrPartitionError, match="no-such-topic"):
        lab.records("no-such-topic")
    cluster = lab.cluster(brokers=1)
    orders = lab.topic("orders", cluster=cluster)
    producer = KafkaProducer(**cluster.kafka)
    producer.send(orders, b"placed").get(timeout=10)
    with pytest.raises(DeadlineError, match=r"gave 0 records, then none for 1 s; it ends at 1"):
        read_records(
            cluster.kafka, orders, patience=1, fetch_min_bytes=10**6, fetch_max_wait_ms=4000
        )


def test_spans_since_a_moment_leave_the_earlier_out(traced):
    with sending("early"):
        pass
    moment = time.time()
    with sending("late"):
        pass
    assert [span.name for span in traced.spans()] == ["send early", "send late"]
    assert [span.name for span in traced.spans(since=moment)] == ["send late"]


def test_a_postgres_of_ones_own_is_full_when_it_says_so(lab):
    shared = create_engine(lab.database_url, poolclass=NullPool)
    own = lab.postgres(max_connections=10)
    engine = create_engine(own.url, poolclass=NullPool)
    with ExitStack() as connections:
        for _ in range(10):
            connections.enter_context(engine.connect())
        with pytest.raises(OperationalError, match="too many clients"):
            engine.connect()
        with shared.connect() as connection:  # the shared one is another
            assert connection.execute(text("SELECT 1")).scalar() == 1
    sockets = Path(make_url(own.url).query["host"])
    assert sockets.is_dir()
    own.stop()
    assert not sockets.exists()
