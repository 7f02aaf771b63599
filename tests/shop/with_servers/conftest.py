"""Real servers for the shop: a schema, topics and keys of each test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from shop import migrating
from shop.settings import Settings
from shoplab import Lab
from shoplab.reference import PARTS, ReferenceShop
from shoplab.schema import Schema


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("08-9", traced=False) as lab:
        yield lab


@pytest.fixture(scope="module")
def settings(lab: Lab) -> Settings:
    """Where the servers are; the tables are there."""
    return made(lab, "kafka-python")


@pytest.fixture(scope="module")
def fresh(lab: Lab) -> Callable[..., Settings]:
    """Settings with tables and topics that are new, for a client of the broker."""
    return partial(made, lab)


def made(lab: Lab, broker: str, **more: Any) -> Settings:
    name = f"shop-{uuid4().hex[:8]}"
    settings = Settings(
        database_url=Schema(name, lab.database_url).url,
        redis_url=lab.redis_url,
        kafka_bootstrap_servers=lab.kafka["bootstrap_servers"],
        shop_prefix=f"{name}.",
        shop_broker=broker,
        shop_partitions=2,
        shop_at_a_time=8,
        shop_session=2.0,
        # Machines are busy: a test that a deadline is kept sets its own.
        shop_deadline=30.0,
        shop_order_deadline=300.0,
        bank_url="http://127.0.0.1:9",
        **more,
    )
    migrating.upgrade(settings)
    return settings


@pytest.fixture(scope="module", params=["kafka-python", "confluent"])
def program(request: pytest.FixtureRequest, lab: Lab) -> Iterator[ReferenceShop]:
    """The whole shop, a process for each of its parts, by either client."""
    with ReferenceShop(made(lab, request.param), (*PARTS, "summaries")) as program:
        yield program
