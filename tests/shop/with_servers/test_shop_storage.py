"""What the database has to do for a query that is asked often."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, text

from shop.database import address
from shop.orders.storage import SUMMARIES
from shop.settings import Settings

pytestmark = pytest.mark.server

MANY = (
    "INSERT INTO orders SELECT n::text, 'anna', 'tok_1', 'key' || n, now(), 'shipped', 5, ''"
    " FROM generate_series(1, 50) AS n",
    "INSERT INTO order_lines SELECT n::text, 0, 'lamp', 1, 4900 FROM generate_series(1, 50) AS n",
)


def test_a_list_of_orders_reads_the_lines_of_those_it_shows(settings: Settings) -> None:
    engine = create_engine(address(settings))
    with engine.connect() as connection:  # and nothing is committed
        for statement in MANY:
            connection.execute(text(statement))
        explain = text("EXPLAIN (ANALYZE, FORMAT JSON)" + SUMMARIES.text)
        [plan] = connection.execute(explain, {"customer_id": "anna", "limit": 7}).scalar_one()
    engine.dispose()
    assert lines_read(plan["Plan"]) == 7


def lines_read(node: dict[str, Any]) -> float:
    below = sum(lines_read(each) for each in node.get("Plans", ()))
    if node.get("Relation Name") != "order_lines":
        return below
    return float(node["Actual Rows"] * node["Actual Loops"]) + below
