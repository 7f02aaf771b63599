"""What the shop asks of a broker, of each client and of the double alike."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, sleep, time
from uuid import uuid4

import pytest

from shop.broker import Broker, BrokerUnavailable, Received, Subscriber, broker
from shop.broker.memory import MemoryBroker
from shop.broker.port import Onlooker
from shop.messages import Record
from shop.settings import Settings
from shoplab.waiting import until

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=["memory", "kafka-python", "confluent"])
def of_a_kind(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Broker]:
    if request.param == "memory":
        yield MemoryBroker()
    else:
        yield broker(settings.model_copy(update={"shop_broker": request.param}))


@pytest.fixture
def topic(of_a_kind: Broker) -> str:
    name = f"topic-{uuid4().hex[:8]}"
    of_a_kind.create_topics([name])
    return name


def publish(of_a_kind: Broker, records: list[Record]) -> None:
    publisher = of_a_kind.publisher()
    publisher.publish(records)
    publisher.close()


def read(subscriber: Subscriber, count: int, seconds: float = 20) -> list[Received]:
    found: list[Received] = []
    deadline = monotonic() + seconds
    while len(found) < count and monotonic() < deadline:
        found += subscriber.poll(0.5)
    return found


def answers(onlooker: Onlooker) -> bool:
    try:
        onlooker.oldest()
    except BrokerUnavailable:
        return False
    return True


def records(topic: str, count: int) -> list[Record]:
    return [Record(topic, f"order {n % 3}", b"%d" % n, {"ce_id": f"é {n}"}) for n in range(count)]


def test_a_topic_that_is_there_stays_as_it_is(of_a_kind: Broker, topic: str) -> None:
    publish(of_a_kind, records(topic, 1))
    of_a_kind.create_topics([topic])
    subscriber = of_a_kind.subscriber("again", [topic])
    assert len(read(subscriber, 1)) == 1
    subscriber.close()


def test_what_is_published_is_read_whole_and_each_key_in_its_sequence(
    of_a_kind: Broker, topic: str
) -> None:
    sent = records(topic, 30)
    publish(of_a_kind, sent)
    subscriber = of_a_kind.subscriber("readers", [topic])
    found = [each.record for each in read(subscriber, 30)]
    subscriber.close()
    for key in {record.key for record in sent}:
        assert [r for r in found if r.key == key] == [r for r in sent if r.key == key]
    assert len(found) == 30


def test_what_is_committed_does_not_come_again_and_the_rest_does(
    of_a_kind: Broker, topic: str
) -> None:
    publish(of_a_kind, records(topic, 6))
    first = of_a_kind.subscriber("careful", [topic])
    assert len(read(first, 6)) == 6
    first.commit()
    publish(of_a_kind, [Record(topic, "order 0", b"late")])
    assert [each.record.value for each in read(first, 1)] == [b"late"]
    first.close()  # without a commit of the last one
    second = of_a_kind.subscriber("careful", [topic])
    assert [each.record.value for each in read(second, 1)] == [b"late"]
    assert second.poll(1.0) == []
    second.close()


def test_each_group_reads_all(of_a_kind: Broker, topic: str) -> None:
    publish(of_a_kind, records(topic, 4))
    for group in ("one", "other"):
        subscriber = of_a_kind.subscriber(group, [topic])
        assert len(read(subscriber, 4)) == 4
        subscriber.close()


def test_an_onlooker_sees_since_when_the_oldest_waits_and_disturbs_nobody(
    of_a_kind: Broker, topic: str
) -> None:
    onlooker = of_a_kind.onlooker("watched", topic)
    until(lambda: answers(onlooker))  # for a moment a new topic has no leader
    assert onlooker.oldest() is None
    before = time()
    publish(of_a_kind, records(topic, 6))
    between = time()
    assert before - 1 < (onlooker.oldest() or 0) < between + 1
    subscriber = of_a_kind.subscriber("watched", [topic])
    assert len(read(subscriber, 6)) == 6
    assert (onlooker.oldest() or 0) < between + 1
    subscriber.commit()
    assert onlooker.oldest() is None
    sleep(1.1)
    publish(of_a_kind, records(topic, 1))
    assert (onlooker.oldest() or 0) > between + 1
    assert len(read(subscriber, 1)) == 1
    subscriber.close()
    onlooker.close()
