"""What the running shop tells a collector, and that it needs none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, time
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from shop.database import address
from shop.settings import Settings
from shoplab.measure.otlp import Collector, Point
from shoplab.measure.spans import Span
from shoplab.ports import free_ports
from shoplab.reference import PARTS, ReferenceShop
from shoplab.waiting import until

pytestmark = pytest.mark.server

PIECES = {"SERVER": 1, "CONSUMER": 10, "PRODUCER": 13}
"""Spans of an order that is shipped: five commands and their answers, and three events as well."""


@pytest.fixture(scope="module", params=["kafka-python", "confluent"])
def client(request: pytest.FixtureRequest) -> str:
    """Which of Kafka's clients the shop uses; each shop has a collector of its own."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def collector(client: str) -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def watched(
    client: str, fresh: Callable[[str], Settings], collector: Collector
) -> Iterator[ReferenceShop]:
    """The shop with its watch, exporting."""
    settings, environment = fresh(client), collector.environment(every=0.2)
    with ReferenceShop(settings, (*PARTS, "watch"), environment) as shop:
        yield shop


def shipped(shop: ReferenceShop) -> str:
    order_id: str = shop.place(str(uuid4()), lamp=1).json()["id"]
    assert shop.ended([order_id]) == ["shipped"]
    return order_id


def orders(shop: ReferenceShop) -> int:
    """How many orders it has; all of them are shipped."""
    engine = create_engine(address(shop.settings))
    with engine.connect() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM orders")).scalar_one()
    engine.dispose()
    return count


def of(collector: Collector, order_id: str) -> list[Span]:
    """The spans of the trace of an order's request."""
    spans = collector.spans()
    first = [s for s in spans if s.kind == "SERVER" and s.attributes.get("order_id") == order_id]
    return [each for each in spans if first and each.trace_id == first[0].trace_id]


def test_an_order_is_one_trace_through_outbox_and_broker(
    watched: ReferenceShop, collector: Collector
) -> None:
    order_id = shipped(watched)

    def whole() -> list[Span]:
        spans = of(collector, order_id)
        kinds = {kind: sum(each.kind == kind for each in spans) for kind in PIECES}
        return spans if kinds == PIECES else []

    spans = until(whole)
    assert {each.service for each in spans} == set(PARTS)
    known = {each.span_id for each in spans}
    assert [each.name for each in spans if each.parent_id not in known] == ["POST /orders"]
    peers = {(s.service, s.attributes["service.peer.name"]) for s in spans if s.kind == "CLIENT"}
    database = {(part, "postgresql") for part in PARTS if part != "relay"}
    assert peers == {("payment", "bank"), ("api", "redis")} | database
    assert not [each for each in spans if each.error]


def test_requests_calls_and_orders_are_counted(
    watched: ReferenceShop, collector: Collector
) -> None:
    began = 0.0

    def since(name: str) -> list[Point]:
        return [point for point in collector.points(name) if point.at > began]

    def told(kind: str) -> float:
        return sum(p.value for p in since("shop.messages") if p.attributes["message"] == kind)

    def posts() -> int:
        name, method = "http.server.request.duration", "http.request.method"
        return sum(each.count for each in since(name) if each.attributes[method] == "POST")

    def handled() -> int:
        return sum(each.count for each in since("shop.message.age"))

    before = orders(watched)  # what was, is told, each metric in its own time
    until(lambda: told("OrderShipped") == told("OrderPlaced") == posts() == before)
    until(lambda: handled() == 10 * before)
    began = time()
    order_id = shipped(watched)
    until(lambda: told("OrderShipped") == told("OrderPlaced") == 1)
    until(lambda: handled() == 10)
    calls = {
        (p.service, p.attributes["service.peer.name"]) for p in since("shop.dependency.duration")
    }
    assert {("payment", "bank"), ("relay", "kafka"), ("api", "redis")} <= calls
    assert posts() == 1
    assert of(collector, order_id)


def test_a_call_that_fails_says_so(watched: ReferenceShop, collector: Collector) -> None:
    engine = create_engine(address(watched.settings))
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE reservations"))
        order_id = watched.place(str(uuid4()), lamp=1).json()["id"]
        failed = until(lambda: [each for each in of(collector, order_id) if each.error], timeout=20)
    engine.dispose()
    assert failed[0].name == "postgresql SELECT reservations"
    assert failed[0].attributes["error.type"] == "QueryCanceled"
    assert watched.ended([order_id]) == ["shipped"]


def test_the_watch_tells_what_waits_while_nobody_works(
    watched: ReferenceShop, collector: Collector
) -> None:
    def age(place: str) -> float:
        ages = [p for p in collector.points("shop.oldest.age") if p.attributes["place"] == place]
        return ages[-1].value if ages else -1

    shipped(watched)  # or payment is halted while it joins its group, and Kafka waits for it
    watched.halt("payment")
    order_id = watched.place(str(uuid4()), lamp=1).json()["id"]
    until(lambda: age("payment") > 1)
    assert age("outbox") < 1
    assert age("inventory") < 1
    watched.resume("payment")
    assert watched.ended([order_id]) == ["shipped"]
    watched.halt("relay")
    order_id = watched.place(str(uuid4()), lamp=1).json()["id"]
    until(lambda: age("outbox") > 1)
    assert age("payment") < 1
    watched.resume("relay")
    assert watched.ended([order_id]) == ["shipped"]
    until(lambda: age("outbox") == age("payment") == 0)


def test_what_is_left_is_exported_at_the_end(fresh: Callable[[str], Settings]) -> None:
    with Collector() as collector:
        rarely = collector.environment(every=600)
        with ReferenceShop(fresh("kafka-python"), environment=rarely) as shop:
            order_id = shipped(shop)
            assert of(collector, order_id) == []
            for part in PARTS:
                shop.end(part)
        spans = of(collector, order_id)
    assert {kind: sum(each.kind == kind for each in spans) for kind in PIECES} == PIECES


def test_without_its_collector_the_shop_works_and_ends_in_time(settings: Settings) -> None:
    [port] = free_ports(1)
    nobody = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    with ReferenceShop(settings, environment=nobody) as shop:
        shipped(shop)
        for part in PARTS:
            began = monotonic()
            shop.end(part)
            assert monotonic() - began < 12, part
