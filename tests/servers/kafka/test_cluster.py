"""Brokers that start, serve, are killed, come back, stop; and what is said of a failed start."""

import dataclasses
import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from shoplab.errors import PortTaken, ServerError
from shoplab.ports import free_ports
from shoplab.servers.kafka import cluster as cluster_module
from shoplab.servers.kafka.broker import Broker
from shoplab.servers.kafka.cluster import Cluster
from shoplab.servers.kafka.setup import set_up
from shoplab.waiting import until as wait_until

until = functools.partial(wait_until, timeout=20)


@pytest.fixture(scope="session")
def installation():
    return set_up(progress=False)


@pytest.fixture
def make_cluster(tmp_path, installation):
    made = []

    def make(count=1, directory=tmp_path / "cluster", installation=installation):
        made.append(Cluster(directory, tmp_path, count, installation))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()


@pytest.fixture
def make_broker(tmp_path, installation):
    made = []

    def make(directory=tmp_path / "broker", ports=None):
        client, controller = ports or free_ports(2)
        made.append(Broker(1, directory, tmp_path, installation, {1: (client, controller)}))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


def write(cluster, topic, values, **options):
    producer = KafkaProducer(**cluster.settings(), **options)
    try:
        for sent in [producer.send(topic, value) for value in values]:
            sent.get(20)
    finally:
        producer.close(timeout=5)


def read(cluster, topic, count):
    consumer = KafkaConsumer(
        topic, **cluster.settings(), auto_offset_reset="earliest", enable_auto_commit=False
    )
    values = []
    try:
        until(lambda: values.extend(r.value for r in _polled(consumer)) or len(values) >= count)
    finally:
        consumer.close()
    return values


def _polled(consumer):
    return [record for records in consumer.poll(timeout_ms=200).values() for record in records]


def create(cluster, name, replicas=1, **configs):
    admin = KafkaAdminClient(**cluster.settings())
    try:
        options = {"num_partitions": 1, "replication_factor": replicas, "configs": configs}
        admin.create_topics({name: options}, wait_for_metadata=True)
    finally:
        admin.close()


def test_one_broker_serves_on_the_loopback_and_leaves_nothing(make_cluster):
    threads = threading.active_count()
    cluster = make_cluster()
    cluster.start()
    process = psutil.Process(cluster.pid(1))
    listening = [c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"]
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}

    admin = KafkaAdminClient(**cluster.settings())
    own = {"__consumer_offsets"}  # where groups keep their offsets; of the check there is no trace
    assert until(lambda: set(admin.list_topics()) == own)
    admin.close()
    create(cluster, "orders")
    write(cluster, "orders", [b"first", b"second"])
    assert read(cluster, "orders", 2) == [b"first", b"second"]

    cluster.stop()
    assert not process.is_running()
    assert threading.active_count() == threads


def test_a_group_reads_and_commits(make_cluster):
    cluster = make_cluster()
    cluster.start()
    create(cluster, "orders")
    write(cluster, "orders", [b"one"])
    consumer = KafkaConsumer(
        "orders", **cluster.settings(), group_id="email", auto_offset_reset="earliest"
    )
    assert until(lambda: _polled(consumer))
    consumer.commit()
    assert consumer.committed(TopicPartition("orders", 0)) == 1
    consumer.close()


def test_groups_can_be_asked_about_as_soon_as_a_broker_serves(make_cluster):
    cluster = make_cluster()
    cluster.start()
    admin = KafkaAdminClient(**cluster.settings())
    try:
        for group in ("email", "payment", "inventory"):  # on both partitions of the offsets
            assert admin.list_group_offsets([group]) == {group: {}}
    finally:
        admin.close()


def test_odd_paths_proxies_and_flags_of_the_user_do_not_matter(make_cluster, tmp_path, monkeypatch):
    for variable in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:NoSuchFlag")
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    monkeypatch.setenv("TZ", "Mars/Olympus")
    cluster = make_cluster(directory=tmp_path / "un café, à côté=100%")
    cluster.start()
    create(cluster, "orders")
    assert (cluster.directory / "broker-1" / "data" / "orders-0").is_dir()


@pytest.mark.parametrize(
    "configs",
    [
        {"retention.bytes": "1048576", "segment.bytes": "1048576"},
        {"retention.ms": "1000"},
    ],
)
def test_what_exceeds_the_retention_is_gone_within_seconds(make_cluster, configs):
    cluster = make_cluster()
    cluster.start()
    create(cluster, "orders", **configs)
    write(cluster, "orders", [b"x" * 10_000] * 400)
    consumer = KafkaConsumer(**cluster.settings())
    partition = TopicPartition("orders", 0)
    assert until(lambda: consumer.beginning_offsets([partition])[partition] > 200, timeout=8)
    consumer.close()


def test_a_killed_broker_comes_back_on_its_port_with_its_records(make_cluster):
    cluster = make_cluster()
    cluster.start()
    create(cluster, "orders")
    write(cluster, "orders", [b"kept"])
    settings, pid = cluster.settings(), cluster.pid(1)
    cluster.kill(1)
    assert not cluster.alive(1)
    cluster.restart(1)
    assert cluster.settings() == settings
    assert cluster.pid(1) != pid
    assert read(cluster, "orders", 1) == [b"kept"]


def test_a_lone_broker_rides_out_a_stalled_disk_and_still_returns_soon(make_cluster, tmp_path):
    def seconds_until_it_stands_down():
        properties = (tmp_path / "cluster" / "broker-1" / "server.properties").read_text()
        return int(re.search(r"^broker\.session\.timeout\.ms=(\d+)000$", properties, re.M)[1])

    cluster = make_cluster()
    cluster.start()
    assert seconds_until_it_stands_down() == 30
    cluster.kill(1)
    began = time.monotonic()
    cluster.restart(1)
    assert time.monotonic() - began < 15
    assert seconds_until_it_stands_down() == 1


def test_of_three_brokers_one_may_die_and_return(make_cluster):
    cluster = make_cluster(3)
    cluster.start()
    create(cluster, "orders", replicas=3, **{"min.insync.replicas": "2"})
    write(cluster, "orders", [b"before"], acks="all")
    admin = KafkaAdminClient(**cluster.settings())

    def seen(field):
        """What the cluster says of the only partition; None while the client asks the dead."""
        try:
            return admin.describe_topics(["orders"])[0]["partitions"][0][field]
        except KafkaError:
            return None

    leader = until(lambda: seen("leader_id"))
    cluster.kill(leader)
    until(lambda: seen("leader_id") not in (leader, -1, None))
    write(cluster, "orders", [b"during"], acks="all")
    cluster.restart(leader)
    until(lambda: sorted(seen("isr_nodes") or []) == [1, 2, 3])
    admin.close()
    assert read(cluster, "orders", 2) == [b"before", b"during"]


def test_a_broker_gets_by_with_little_of_the_machines_addresses(make_cluster, monkeypatch):
    """As on a cluster's login node, whose ``ulimit -v`` is small; a JVM reserves what it can."""
    command = Broker.command
    limited = ["sh", "-c", 'ulimit -v 1300000 && exec "$@"', "sh"]
    monkeypatch.setattr(Broker, "command", lambda broker: [*limited, *command(broker)])
    cluster = make_cluster()
    cluster.start()
    create(cluster, "orders")
    write(cluster, "orders", [b"one"])
    assert read(cluster, "orders", 1) == [b"one"]


def test_nobody_is_answered_while_a_broker_is_halted(make_cluster):
    cluster = make_cluster()
    cluster.start()
    create(cluster, "orders")
    producer = KafkaProducer(**cluster.settings())
    try:
        producer.send("orders", b"before").get(20)
        cluster.halt(1)
        sent = producer.send("orders", b"meanwhile")
        with pytest.raises(KafkaTimeoutError):
            sent.get(0.5)
        assert cluster.alive(1)
        cluster.resume(1)
        sent.get(20)
    finally:
        producer.close(timeout=5)
    cluster.halt(1)
    cluster.restart(1)
    assert read(cluster, "orders", 2) == [b"before", b"meanwhile"]


def test_a_broker_that_there_is_not_is_named(make_cluster):
    cluster = make_cluster()
    cluster.start()
    for act in (cluster.kill, cluster.halt, cluster.resume, cluster.restart):
        with pytest.raises(ServerError, match=r"no broker 4; there are \[1\]"):
            act(4)


def test_a_taken_port_is_replaced_by_another(make_cluster, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        offers = [[taken.getsockname()[1], free_ports(1)[0]], free_ports(2)]
        monkeypatch.setattr(cluster_module, "free_ports", lambda _: offers.pop(0))
        cluster = make_cluster()
        cluster.start()
    assert offers == []


def test_a_broker_that_dies_at_its_start_is_reported_at_once(make_broker):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        broker = make_broker(ports=(taken.getsockname()[1], free_ports(1)[0]))
        started = time.monotonic()
        with pytest.raises(PortTaken, match="kafka-1 died at its start") as refusal:
            broker.start()
    assert time.monotonic() - started < broker.start_timeout / 2
    assert "another program has its port" in refusal.value.next_step
    assert "Address already in use" in str(refusal.value)


@pytest.mark.parametrize("half", ["", "version=1\nnode.id=1\n", "version=1\ncluster.id="])
def test_half_formatted_data_are_reported(make_broker, half):
    broker = make_broker()
    broker.prepare()
    (broker.directory / "data" / "meta.properties").write_text(half)
    with pytest.raises(ServerError) as refusal:
        broker.start()
    assert "the data are damaged; remove" in refusal.value.next_step
    assert "  | " in str(refusal.value)  # the log has the broker's own reason


def test_data_that_another_broker_uses_are_reported(make_broker):
    first, second = make_broker(), make_broker()
    first.start()
    second.name = "kafka-intruder"
    with pytest.raises(ServerError) as refusal:
        second.start()
    assert "another broker uses this data directory" in refusal.value.next_step
    assert "Failed to acquire lock" in str(refusal.value)
    assert first.alive


@pytest.mark.skipif(sys.platform != "linux", reason="needs a directory that root cannot write")
def test_a_data_directory_that_cannot_be_written_is_reported(make_broker):
    broker = make_broker()
    (broker.directory / "data").symlink_to("/sys/kernel")
    with pytest.raises(ServerError, match=r"kafka-1 cannot be started: .*ermi"):
        broker.start()


def test_a_full_disk_is_reported(make_broker):
    broker = make_broker()
    data = broker.directory / "data"
    data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", data], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this user cannot mount a small file system")
    try:
        broker.prepare()
        with (data / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
            while filler.write(b"x" * 4096):
                pass
        with pytest.raises(ServerError) as refusal:
            broker.start()
    finally:
        broker.kill()
        subprocess.run(["umount", data], check=True)
    assert "free some space on the disk" in refusal.value.next_step
    assert "No space left on device" in str(refusal.value)


@pytest.mark.parametrize("damage", ["cut off", "overwritten"])
def test_a_damaged_class_cache_costs_time_and_not_the_start(
    make_cluster, installation, tmp_path, damage
):
    if installation.aot_cache is None:
        pytest.skip("this Java has no AOT cache")
    own = dataclasses.replace(installation, cache=tmp_path)
    shutil.copyfile(installation.bootstrap, own.bootstrap)
    shutil.copyfile(installation.aot_cache, own.aot_cache)
    size = own.aot_cache.stat().st_size
    if damage == "cut off":
        os.truncate(own.aot_cache, size // 2)
    else:
        with own.aot_cache.open("r+b") as cache:
            cache.seek(size // 2)
            cache.write(b"\x5a" * (size // 4))
    cluster = make_cluster(installation=own)
    cluster.start()
    assert cluster.alive(1)
    assert not own.aot_cache.exists()  # so that the next set-up trains again


def test_a_class_cache_for_which_there_is_no_memory_is_kept(
    make_cluster, installation, monkeypatch
):
    if installation.aot_cache is None:
        pytest.skip("this Java has no AOT cache")
    command = Broker.command
    limited = ["sh", "-c", 'ulimit -v 500000 && exec "$@"', "sh"]
    monkeypatch.setattr(Broker, "command", lambda broker: [*limited, *command(broker)])
    with pytest.raises(ServerError) as refusal:
        make_cluster().start()
    assert "raise the limit of memory" in refusal.value.next_step
    assert installation.aot_cache.exists()


def test_the_class_cache_serves_every_checkout(make_cluster, installation, tmp_path):
    """It belongs to a build of Java, not to the environment that brought it."""
    if installation.aot_cache is None:
        pytest.skip("this Java has no AOT cache")
    elsewhere = tmp_path / "another environment"
    shutil.copytree(installation.java.path.resolve().parent.parent, elsewhere)  # with times of now
    java = dataclasses.replace(installation.java, path=elsewhere / "bin" / "java")
    other = dataclasses.replace(installation, java=java)
    assert other.aot_cache == installation.aot_cache
    cluster = make_cluster(installation=other)
    cluster.start()
    assert str(elsewhere) in psutil.Process(cluster.pid(1)).exe()
    assert other.aot_cache.exists()  # it was not refused
    newer = dataclasses.replace(other, java=dataclasses.replace(java, description="another build"))
    assert newer.aot_cache != other.aot_cache


def test_two_set_ups_at_once_train_once_and_a_later_one_is_silent(installation, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "jars").symlink_to(Path(installation.jars[0]).parent)
    command = [sys.executable, "-c", "from shoplab.servers.kafka.setup import set_up; set_up()"]
    options = {
        "env": os.environ | {"SHOPLAB_CACHE": str(cache)},
        "stderr": subprocess.PIPE,
        "text": True,
    }
    both = [subprocess.Popen(command, **options) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "".join(said).count("Training") == (installation.aot_cache is not None)
    assert not (cache / "training").exists()
    again = subprocess.run(command, timeout=30, **options)
    assert (again.returncode, again.stderr) == (0, "")
