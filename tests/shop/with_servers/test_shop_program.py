"""The whole shop on real servers: what becomes of orders, and of orders whose helpers die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psutil
import pytest
import redis
import requests
from sqlalchemy import create_engine, text

from shop.database import address
from shop.settings import Settings
from shoplab.reference import ReferenceShop, variables
from shoplab.stack.leftovers import runs
from shoplab.waiting import until

pytestmark = pytest.mark.server


def rows(program: ReferenceShop, query: str) -> list[tuple[Any, ...]]:
    engine = create_engine(address(program.settings))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def free(program: ReferenceShop, sku: str) -> int:
    [(number,)] = rows(program, f"SELECT free FROM stock WHERE sku = '{sku}'")
    return int(number)


def count(program: ReferenceShop, table: str) -> int:
    [(number,)] = rows(program, f"SELECT count(*) FROM {table}")
    return int(number)


def key() -> str:
    return str(uuid4())


def test_orders_are_shipped_or_cancelled_for_a_reason(program: ReferenceShop) -> None:
    lamps, rugs, once = free(program, "lamp"), free(program, "rug"), key()
    good = program.place(once, lamp=2, desk=1).json()["id"]
    poor = program.place(key(), card="tok_0002", lamp=1).json()["id"]
    many = program.place(key(), rug=rugs + 1, lamp=1).json()["id"]
    assert program.place(once, lamp=2, desk=1).json()["id"] == good
    assert program.ended([good, poor, many]) == ["shipped", "cancelled", "cancelled"]
    assert program.order(poor)["reason"] == "The card was declined."
    assert program.order(many)["reason"] == "Too few of 'rug' are left."
    books = program.books()
    assert (books[good]["state"], books[poor]["state"]) == ("captured", "declined")
    assert many not in books
    assert (free(program, "lamp"), free(program, "rug")) == (lamps - 2, rugs)


def test_a_customers_list_follows_the_orders(program: ReferenceShop) -> None:
    customer = f"customer-{uuid4().hex}"

    def listed() -> list[tuple[str, str]]:
        answer = requests.get(f"{program.url}/customers/{customer}/orders", timeout=10)
        return [(each["id"], each["status"]) for each in answer.json()]

    assert listed() == []  # from now on Redis has a list
    good = program.place(key(), customer=customer, lamp=1).json()["id"]
    poor = program.place(key(), customer=customer, card="tok_0002", lamp=1).json()["id"]
    until(lambda: listed() == [(poor, "cancelled"), (good, "shipped")], timeout=60)
    with redis.Redis.from_url(program.settings.redis_url.get_secret_value()) as store:
        [kept] = store.mget(f"{program.settings.shop_prefix}orders:{customer}")
        assert good in kept.decode()


def test_the_shop_ends_with_the_program_that_started_it(settings: Settings) -> None:
    code = (
        "import signal; from shop.settings import Settings\n"
        "from shoplab.reference import ReferenceShop\n"
        "with ReferenceShop(Settings(), parts=('relay',)) as shop:\n"
        "    print(shop.processes['relay'].pid, shop.processes['bank'].pid, flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | variables(settings), stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parts = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert [runs(part) for part in parts] == [True, True]
        parent.kill()
    until(lambda: not any(map(runs, parts)))


def test_an_article_that_is_not_there_is_told_and_kept_nowhere(program: ReferenceShop) -> None:
    before = count(program, "orders")
    answer = program.place(key(), unicorn=1)
    assert (answer.status_code, answer.json()) == (400, {"detail": "There is no 'unicorn'."})
    assert (count(program, "orders"), count(program, "outbox")) == (before, 0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_whoever_ends_no_order_is_lost_and_none_is_charged_twice(
    program: ReferenceShop, how: signal.Signals
) -> None:
    helpers = [part for part in program.processes if part not in ("api", "bank")]
    orders, lamps, handled = 60, free(program, "lamp"), count(program, "inbox")
    with ThreadPoolExecutor(8) as customers:
        placed = [customers.submit(program.place, key(), lamp=1) for _ in range(orders)]
        for part in helpers:
            status = program.end(part, how)
            assert status == (-signal.SIGKILL if how is signal.SIGKILL else 0), program.log(
                part
            ).read_text()
            program.start(part)
        ids = [each.result().json()["id"] for each in placed]
    assert len(set(ids)) == orders
    assert program.ended(ids, 120) == ["shipped"] * orders
    books = program.books()
    assert {(books[each]["state"], books[each]["amount"]) for each in ids} == {("captured", 4900)}
    assert free(program, "lamp") == lamps - orders
    assert count(program, "inbox") == handled + 10 * orders  # five commands and five answers


def test_when_redis_forgets_everything_a_key_still_places_one_order(program: ReferenceShop) -> None:
    once = key()
    before = program.place(once, lamp=1).json()["id"]
    with redis.Redis.from_url(program.settings.redis_url.get_secret_value()) as store:
        kept = list(store.scan_iter(f"{program.settings.shop_prefix}*"))
        assert any(b"placed:" in name for name in kept)
        store.delete(*kept)
    assert program.place(once, lamp=1).json()["id"] == before
