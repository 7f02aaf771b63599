"""The shop of chapter 8 under load, beside a plain synchronous shop of the same work.

The plain shop does all in the request: prices, order, stock, the bank twice, and the order is
shipped when it answers. The reference shop answers when the order is accepted. So two figures
count for both: how soon a customer has the answer, and how many orders a second get *shipped*.
"""

from __future__ import annotations

import pstats
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil
import requests
import sqlalchemy
from fastapi import FastAPI, Header, HTTPException
from requests.adapters import HTTPAdapter

from shop.database import address
from shop.settings import Settings
from shoplab import Lab
from shoplab.measure.load import LoadResult
from shoplab.reference import ReferenceShop, settings_on
from shoplab.stack import Stack

if TYPE_CHECKING:
    from tools.bench import Report

RATES = (25, 50, 100, 150, 200, 300, 400)
"""Orders a second that customers come at, until one is too much."""

SECONDS = 5.0
SOON = 0.5
"""Seconds within which 99 of 100 customers want their answer."""

ORDER = {"customer_id": "mary", "card": "tok_1111", "quantities": {"lamp": 1}}

TABLES = """
CREATE TABLE plain_orders (key text PRIMARY KEY, customer text, card text, sku text, price int,
                           placed_at timestamptz DEFAULT now(), status text);
CREATE TABLE plain_stock (sku text PRIMARY KEY, price int, free int CHECK (free >= 0));
INSERT INTO plain_stock VALUES ('lamp', 4900, 1000000);
"""
TAKE = "UPDATE plain_stock SET free = free - 1 WHERE sku = 'lamp' AND free >= 1 RETURNING price"
PLACED = """
INSERT INTO plain_orders VALUES (:key, :customer, :card, 'lamp', :price, now(), 'placed')
ON CONFLICT DO NOTHING
"""
SHIPPED = "UPDATE plain_orders SET status = 'shipped' WHERE key = :key"


def plain_shop(database_url: str, bank_url: str) -> FastAPI:
    """An order, all of it in one request: two short transactions, and the bank between them."""
    app, bank = FastAPI(), requests.Session()
    bank.mount("http://", HTTPAdapter(pool_maxsize=40))
    database = sqlalchemy.create_engine(database_url, pool_size=40)

    @app.post("/orders", status_code=201)
    def place(order: dict[str, object], idempotency_key: str = Header()) -> dict[str, str]:
        row = {"key": idempotency_key, "customer": order["customer_id"], "card": order["card"]}
        with database.begin() as transaction:
            price = transaction.scalar(sqlalchemy.text(TAKE))
            transaction.execute(sqlalchemy.text(PLACED), row | {"price": price})
        for step in ("authorisations", "captures"):
            asked = {"key": idempotency_key, "amount": price, "card": order["card"]}
            if not bank.post(f"{bank_url}/{step}", json=asked, timeout=5).ok:
                raise HTTPException(502, "The bank does not answer.")
        with database.begin() as transaction:
            transaction.execute(sqlalchemy.text(SHIPPED), row)
        return {"status": "shipped"}

    return app


class ProfiledShop(ReferenceShop):
    """The shop with one part under cProfile, which writes what it found when the part ends."""

    profiled, found = "", Path()

    def module(self, name: str, arguments: list[str]) -> list[str]:
        """The shop, within the profiler or without."""
        profiler = ["cProfile", "-o", str(self.found), "-m"] if name == self.profiled else []
        return [*profiler, *super().module(name, arguments)]


def load(lab: Lab, url: str, rate: float) -> LoadResult:
    """Customers who come at this rate, each with a key of his own."""
    run = uuid4().hex
    return lab.offer(
        f"{url}/orders",
        rate=rate,
        seconds=SECONDS,
        method="POST",
        json=ORDER,
        headers=lambda index: {"Idempotency-Key": f"{run}-{index}"},
    )


@dataclass
class Best:
    """The quickest that customers came while nearly all had their answer soon."""

    rate: float = 0.0
    p99: float = float("nan")


def climb(lab: Lab, url: str, settle: Callable[[], None]) -> Best:
    """Let customers come quicker and quicker, and each time wait until all is done."""
    best = Best()
    for rate in RATES:
        result = load(lab, url, rate)
        settle()
        if result.answered < result.offered or result.percentile(99) > SOON:
            break
        best = Best(rate, result.percentile(99))
    return best


def count(settings: Settings, query: str) -> int:
    """What a query counts in the shop's database."""
    database = sqlalchemy.create_engine(address(settings))
    with database.begin() as transaction:
        found = transaction.execute(sqlalchemy.text(query))
        number = found.scalar() if found.returns_rows else 0
    database.dispose()
    return int(number or 0)


def processor_seconds(*pids: int) -> float:
    """What these processes and their children have used so far."""
    roots = [psutil.Process(pid) for pid in pids]
    children = {child for root in roots for child in root.children(recursive=True)}
    used = [each.cpu_times() for each in {*roots, *children}]
    return sum(times.user + times.system for times in used)


def measure_shop(report: Report) -> None:
    """How soon orders are accepted, how many are shipped, and what takes the processor."""
    stack = Stack()
    with Lab("bench-shop", traced=False) as lab:
        settings = settings_on(lab, shop_order_deadline=600.0, shop_at_a_time=16)
        with ReferenceShop(settings) as shop:
            used, rate = measure_reference(report, lab, stack, shop)
        parts = {name: seconds for name, seconds in used.items() if name in shop.processes}
        busiest = max(parts, key=lambda name: parts[name])
        report.line("  the part with most of it", busiest)
        profile(report, lab, settings, busiest, rate)
        with ReferenceShop(settings, parts=()) as bank:
            plain = lab.serve(plain_shop, lab.database_url, bank.settings.bank_url)
            with sqlalchemy.create_engine(lab.database_url).begin() as transaction:
                transaction.execute(sqlalchemy.text(TABLES))
            best = climb(lab, plain.url, lambda: None)
        report.line("a plain synchronous shop ships, at most", f"{best.rate:.0f} a second")
        report.line("  p99 of placing an order at that rate", f"{1000 * best.p99:.0f} ms")
    stack.close()


def measure_reference(
    report: Report, lab: Lab, stack: Stack, shop: ReferenceShop
) -> tuple[dict[str, float], float]:
    """Processor seconds of each process while 400 orders go through, and the rate they had."""
    count(shop.settings, "UPDATE stock SET free = 1000000")

    def open_orders() -> int:
        return count(shop.settings, "SELECT count(*) FROM orders WHERE status <> 'shipped'")

    def settle() -> None:
        lab.until(lambda: not open_orders(), timeout=300, every=0.1)

    best = climb(lab, shop.url, settle)
    report.line("the shop accepts, at most", f"{best.rate:.0f} a second")
    report.line("  p99 of placing an order at that rate", f"{1000 * best.p99:.0f} ms")
    status = stack.status()
    pids = {name: [process.pid] for name, process in shop.processes.items()}
    pids |= {name: each["pids"] for name, each in status["servers"].items()} if status else {}
    before = {name: processor_seconds(*each) for name, each in pids.items()}
    result = load(lab, shop.url, best.rate)
    settle()
    first = f"to_timestamp({result.started})"
    took = count(
        shop.settings,
        f"SELECT 1000 * extract(epoch FROM max(handled_at) - {first}) FROM inbox",
    )
    used = {name: processor_seconds(*each) - before[name] for name, each in pids.items()}
    report.line("the shop ships", f"{1000 * result.offered / took:.0f} a second")
    for name, seconds in sorted(used.items(), key=lambda each: -each[1]):
        each = f"{1000 * seconds / result.offered:.1f} ms"
        report.line(f"  processor time for each order, {name}", each)
    return used, best.rate


def profile(report: Report, lab: Lab, settings: Settings, part: str, rate: float) -> None:
    """What one part spends its time on, while orders go through."""
    found = Path(lab.directory, "profile")
    with ProfiledShop(settings) as shop:
        shop.end(part)
        shop.profiled, shop.found = part, found
        shop.start(part)
        load(lab, shop.url, rate / 2)
        done = "SELECT count(*) FROM orders WHERE status <> 'shipped'"
        lab.until(lambda: not count(settings, done), timeout=300, every=0.1)
        shop.end(part)
    stats = pstats.Stats(str(found)).get_stats_profile()
    aside = ("poll", "select", "acquire", "wait", "compile", "marshal", "stat", "exec")
    busy = {
        name: each.tottime
        for name, each in stats.func_profiles.items()
        if not any(word in name for word in aside)  # it waits, or it is only just starting
    }
    total = sum(busy.values())
    for name in sorted(busy, key=lambda each: -busy[each])[:3]:
        report.line(f"    of it in {name[:44]}", f"{100 * busy[name] / total:.0f} %")


if __name__ == "__main__":
    from tools.bench import Report

    measure_shop(Report())
