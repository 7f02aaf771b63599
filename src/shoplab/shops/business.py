"""The business of a shop: what is done for an order, whatever the style in which it is reached.

A piece is reserved, the card is charged, the customer gets a mail, and the sale is counted. Each
step is one transaction, and doing it twice is doing it once. The bank and the mail provider belong
to somebody else, so each shop reaches them by request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import sleep, time
from typing import Any

import redis
import requests
from fastapi import FastAPI, HTTPException
from requests.adapters import HTTPAdapter
from sqlalchemy import Engine, create_engine, text
from urllib3 import Retry

Order = dict[str, Any]
"""``number``, ``item`` (lamp or rare), ``card`` (good or declined), ``born`` (a year or None)."""

Step = Callable[[Order], Any]
"""What is done for an order; it returns the event that it makes, where there is one."""

PRICES = {"lamp": 4000, "rare": 9000}
"""Cents."""

OUTSIDERS = {"bank": 2, "mail": 8}
"""How many orders each has in hand at the same time."""

BANK, MAIL = 0.06, 0.05
"""Seconds that each takes for an order."""

TABLES = """
CREATE TABLE orders (number text PRIMARY KEY, state text, seen float, decided float);
CREATE TABLE stock (item text PRIMARY KEY, pieces int CHECK (pieces >= 0));
CREATE TABLE reservations (number text PRIMARY KEY, item text);
CREATE TABLE sales (number text PRIMARY KEY, decade int, counted float);
CREATE TABLE outbox (n serial, event text, body text);
INSERT INTO stock VALUES ('lamp', 100000), ('rare', 3)
"""
RECEIVE = "INSERT INTO orders VALUES (:number, 'received', :now) ON CONFLICT DO NOTHING"
DECIDE = """
INSERT INTO orders VALUES (:number, :state, :now, :now)
ON CONFLICT (number) DO UPDATE SET state = :state, decided = :now WHERE orders.decided IS NULL
"""
TAKE = """
WITH taken AS (
    UPDATE stock SET pieces = pieces - 1 WHERE item = :item AND pieces > 0
    AND NOT EXISTS (SELECT FROM reservations WHERE number = :number) RETURNING item)
INSERT INTO reservations SELECT :number, item FROM taken
"""
GIVE = """
WITH given AS (DELETE FROM reservations WHERE number = :number RETURNING item)
UPDATE stock SET pieces = pieces + 1 FROM given WHERE stock.item = given.item
"""
COUNT = "INSERT INTO sales VALUES (:number, :decade, :now) ON CONFLICT DO NOTHING"


def change(database: Engine, statement: str, order: Order, **more: Any) -> None:
    """One step in one transaction."""
    with database.begin() as transaction:
        transaction.execute(text(statement), order | more | {"now": time()})


def reserve(database: Engine, order: Order) -> str:
    """Take a piece off the shelf for an order: 'reserved', or 'sold out'."""
    change(database, TAKE, order)
    with database.connect() as connection:
        ours = text("SELECT number FROM reservations WHERE number = :number")
        return "reserved" if connection.scalar(ours, order) else "sold out"


def count_sale(database: Engine, version: Callable[[], Any], order: Order) -> None:
    """Count a sale by the decade of the customer's birth.

    The first version fails with a ``TypeError`` where a customer does not tell it.
    """
    born = order["born"]
    if born is not None or version() != "fixed":
        born = born // 10 * 10
    change(database, COUNT, order, decade=born)


def outsider(redis_url: str, books: str, seconds: float) -> FastAPI:
    """A bank or a mail provider: it handles an order once, and notes when.

    ``books`` is the key of its notes in Redis. The key ``books:slow`` holds seconds, where it is
    slower than ``seconds``; ``books:busy`` counts what it has in hand.
    """
    app, store = FastAPI(), redis.Redis.from_url(redis_url, decode_responses=True)

    @app.post("/")
    def handle(order: dict[str, Any]) -> str:
        if store.hexists(books, order["number"]):
            return "done"
        store.incr(f"{books}:busy")
        sleep(float(store.get(f"{books}:slow") or seconds))
        declined = books.startswith("bank") and order["card"] == "declined"
        if not declined:
            store.hsetnx(books, order["number"], str(time()))
        store.decr(f"{books}:busy")
        if declined:
            raise HTTPException(409, "declined")
        return "done"

    return app


def session_with(retries: int) -> requests.Session:
    """A client that asks up to so often again where nobody listens."""
    session = requests.Session()
    retry = Retry(retries, allowed_methods=None, backoff_factor=0.02, backoff_max=0.2)
    session.mount("http://", HTTPAdapter(pool_maxsize=40, max_retries=retry))
    return session


def ask(session: requests.Session, url: str, timeout: float, order: Order) -> Any:
    """Ask for a step and return its word, which may be a refusal.

    ``requests.RequestException`` where there is none within ``timeout`` seconds.
    """
    answer = session.post(url, json=order, timeout=timeout)
    if answer.status_code == 409:
        return answer.json()["detail"]
    answer.raise_for_status()
    return answer.json()


def steps(database_url: str, redis_url: str, urls: Mapping[str, str]) -> dict[str, Step]:
    """Every step by its name; ``urls`` has the addresses of bank and mail provider."""
    database, patient = create_engine(database_url, pool_size=20), session_with(200)
    store = redis.Redis.from_url(redis_url, decode_responses=True)

    def charge(order: Order) -> str:
        return "paid" if ask(patient, urls["bank"], 30, order) == "done" else "declined"

    return {
        "receive": partial(change, database, RECEIVE),
        "confirm": partial(change, database, DECIDE, state="confirmed"),
        "refuse": partial(change, database, DECIDE, state="refused"),
        "reserve": partial(reserve, database),
        "release": partial(change, database, GIVE),
        "charge": charge,
        "tell": partial(ask, patient, urls["mail"], 30),
        "count": partial(count_sale, database, lambda: store.get(urls["version"])),
    }
