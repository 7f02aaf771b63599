"""Logs of a run in which things fail: no card, no customer and no secret is in them."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from shop.broker import broker
from shop.database import address, engine
from shop.logs import pseudonym
from shop.messages import Record, sealed
from shop.orders.storage import orders
from shop.payment.events import Authorise
from shop.settings import Settings
from shop.worker import DEAD
from shoplab import Lab
from shoplab.reference import PARTS, ReferenceShop
from shoplab.waiting import until

pytestmark = pytest.mark.server

TOPICS = "orders.answers", "payment.commands"
CARD, CUSTOMER, KEY = "4111111111110002", "mary.smith@example.com", "the key of the pseudonyms"


def forbid(shop: ReferenceShop, table: str, condition: str) -> None:
    """Let the database refuse rows; of what it refuses, its errors quote the row."""
    database = create_engine(address(shop.settings))
    with database.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} ADD CHECK (NOT ({condition}))"))
    database.dispose()


def publish(shop: ReferenceShop, *records: Record) -> None:
    publisher = broker(shop.settings).publisher()
    publisher.publish(records)
    publisher.close()


def logs_of(shop: ReferenceShop) -> str:
    return "".join(shop.log(part).read_text() for part in PARTS)


def lines_of(shop: ReferenceShop) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logs_of(shop).splitlines()]


def test_what_is_personal_or_secret_is_in_no_line_of_a_run_that_fails(
    lab: Lab, fresh: Callable[..., Settings]
) -> None:
    settings = fresh("kafka-python", shop_log_key=KEY)
    with ReferenceShop(settings) as shop:
        forbid(shop, "orders", "status = 'cancelled'")  # a row with customer and card
        who = {"customer": CUSTOMER, "card": CARD}
        order = shop.place(str(uuid4()), **who, rug=1000).json()["id"]
        shop.place(str(uuid4()), **who, unicorn=1)
        wrong = sealed(Authorise(order_id="7", amount=1, card=CARD), "orders")
        body = json.dumps({"order_id": "7", "amount": CUSTOMER, "card": [CARD]}).encode()
        publish(shop, Record(wrong.topic, wrong.key, body, wrong.headers))
        until(lambda: logs_of(shop).count("Put aside") == 2)
        told, lines = logs_of(shop), lines_of(shop)
        topics = [f"{settings.shop_prefix}{topic}{DEAD}" for topic in TOPICS]
        dead = [record for topic in topics for record in lab.records(topic)]

    reasons = [value for record in dead for name, value in record.headers if name == "reason"]
    whole = told + b"".join(reasons).decode()
    secrets = [settings.database_url, settings.redis_url, settings.shop_log_key]
    hidden = [CARD, CUSTOMER, *(secret.get_secret_value() for secret in secrets)]
    assert [each for each in hidden if each in whole] == []
    assert len(reasons) == 2
    assert "CheckViolation" in whole
    assert "amount" in whole
    assert "Traceback" in whole
    placed = {
        line.get("order_id")
        for line in lines
        if line.get("customer_id") == pseudonym(CUSTOMER, KEY)
    }
    assert order in placed


def test_an_error_of_the_database_is_told_without_the_row(settings: Settings) -> None:
    async def insert() -> None:
        pool = engine(settings, 1)
        try:
            async with pool.begin() as connection:
                row = {"id": "7", "customer_id": CUSTOMER, "card": CARD}
                await connection.execute(orders.insert(), row)
        finally:
            await pool.dispose()

    with pytest.raises(IntegrityError) as wrong:
        asyncio.run(insert())
    told = "".join(traceback.format_exception(wrong.value))
    assert "null value in column" in told
    assert [each for each in (CUSTOMER, CARD) if each in told] == []


def test_each_step_of_an_order_leaves_a_line(fresh: Callable[..., Settings]) -> None:
    with ReferenceShop(fresh("confluent", shop_log_key=KEY)) as shop:
        order = shop.place(str(uuid4()), lamp=1).json()["id"]
        assert shop.ended([order]) == ["shipped"]
        until(lambda: logs_of(shop).count("OrderShipped") == 1)
        lines = [line for line in lines_of(shop) if line.get("order_id") == order]
    steps = [
        (line.get("group", "api"), line["step"], line["outcome"])
        for line in sorted(lines, key=lambda line: line["timestamp"])
        if "step" in line
    ]
    helpers = {"authorise": "payment", "capture": "payment"}
    saga = ["reserve", "authorise", "pack", "capture", "ship"]
    assert sorted(steps) == sorted(
        [("api", "place", "done")]
        + [(helpers.get(step, "inventory"), step, "done") for step in saga]
        + [("orders", step, "done") for step in saga]
    )
    sent = [line["message"] for line in lines if line["event"] == "Sent"]
    assert len(sent) == 13  # five commands, five answers, and what three events tell the world
    assert all(line["milliseconds"] >= 0 for line in lines)
