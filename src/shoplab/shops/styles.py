"""One shop in three styles: it only calls, it only sends events, or it draws a line between both.

Notebook 07-1 writes these functions out; a test compares them. What they share is in ``business``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from time import sleep, time
from typing import Any

import requests
from fastapi import FastAPI, HTTPException, Response
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from sqlalchemy import Engine, create_engine, text

from shoplab.shops.business import DECIDE, PRICES, RECEIVE, Order, ask, session_with, steps

PATIENCE, BOUND = 1.8, 0.6
"""Seconds that a shop waits for an answer, and that the mixed one waits for the bank."""

NOTE = "INSERT INTO outbox (event, body) VALUES (:event, :body)"
NEXT = "DELETE FROM outbox WHERE n IN (SELECT n FROM outbox ORDER BY n LIMIT 100)"


def by_request(database_url: str, redis_url: str, urls: Mapping[str, str]) -> FastAPI:
    """Every step behind an address of its own."""
    app, do = FastAPI(), steps(database_url, redis_url, urls)

    @app.post("/{step}")
    def work(step: str, order: dict[str, Any]) -> Any:
        return do[step](order)

    return app


def by_event(
    kafka: dict[str, Any],
    group: str,
    duties: Mapping[str, str],
    topics: Mapping[str, str],
    *world: Any,
) -> None:
    """Do a step for each event of its kind, and publish what comes of it; dies at any error."""
    do, producer = steps(*world), KafkaProducer(acks="all", **kafka)
    duty = {topics[event]: step for event, step in duties.items()}
    member = {"group_id": group, "group_instance_id": group, "enable_auto_commit": False}

    def handle(record: Any) -> None:
        said = do[duty[record.topic]](json.loads(record.value))
        if said in topics:
            producer.send(topics[said], record.value, key=record.key).get(timeout=30)

    with (
        closing(KafkaConsumer(*duty, auto_offset_reset="earliest", **member, **kafka)) as consumer,
        ThreadPoolExecutor(8) as pool,
    ):
        while True:
            for records in consumer.poll(timeout_ms=10_000, max_records=32).values():
                list(pool.map(handle, records))
                with suppress(KafkaError):  # the next commit, or the next worker, makes up for it
                    consumer.commit()


def synchronous(database_url: str, redis_url: str, urls: Mapping[str, str]) -> FastAPI:
    """The door of the shop that only calls."""
    app, session, do = FastAPI(), session_with(0), steps(database_url, redis_url, urls)

    @app.post("/orders", status_code=201)
    def place(order: dict[str, Any]) -> None:
        order["cents"], said = PRICES[order["item"]], "unknown"
        do["receive"](order)
        with suppress(requests.RequestException):
            said = ask(session, f"{urls['inventory']}/reserve", PATIENCE, order)
            if said == "reserved":
                said = ask(session, urls["bank"], PATIENCE, order)
        if said != "done":
            ask(session, f"{urls['inventory']}/release", PATIENCE, order)
            do["refuse"](order)
            raise HTTPException(504 if said in ("unknown", "reserved") else 409, said)
        do["confirm"](order)
        for url in (urls["mail"], f"{urls['analytics']}/count"):
            with suppress(requests.RequestException):
                ask(session, url, PATIENCE, order)

    return app


def asynchronous(kafka: dict[str, Any], topics: Mapping[str, str]) -> FastAPI:
    """The door of the shop that only sends events."""
    app, producer = FastAPI(), KafkaProducer(acks="all", **kafka)

    @app.post("/orders", status_code=202)
    def place(order: dict[str, Any]) -> None:
        order["cents"] = PRICES[order["item"]]
        key, event = order["number"].encode(), json.dumps(order).encode()
        producer.send(topics["placed"], event, key=key).get(timeout=30)

    return app


def charge_soon(
    session: requests.Session, url: str, waiting: threading.Semaphore, order: Order
) -> Any:
    """Ask the bank, unless too many are waiting for it; 'unknown' without a timely answer."""
    if not waiting.acquire(blocking=False):
        return "unknown"
    try:
        return ask(session, url, BOUND, order)
    except requests.RequestException:
        return "unknown"
    finally:
        waiting.release()


def note(database: Engine, statement: str, order: Order, state: str, event: str) -> None:
    """Change an order and leave an event in the outbox, in one transaction."""
    row = {"state": state, "now": time(), "event": event, "body": json.dumps(order)}
    with database.begin() as transaction:
        transaction.execute(text(statement), order | row)
        transaction.execute(text(NOTE), row)


def hybrid(database_url: str, redis_url: str, urls: Mapping[str, str]) -> FastAPI:
    """The door of the mixed shop."""
    app, session = FastAPI(), session_with(0)
    database, waiting = create_engine(database_url, pool_size=20), threading.Semaphore(4)

    @app.post("/orders", status_code=201)
    def place(order: dict[str, Any], response: Response) -> None:
        order["cents"] = PRICES[order["item"]]
        said = "no answer"
        with suppress(requests.RequestException):
            said = ask(session, f"{urls['inventory']}/reserve", PATIENCE, order)
        if said == "reserved":
            said = charge_soon(session, urls["bank"], waiting, order)
        if said == "done":
            note(database, DECIDE, order, "confirmed", "paid")
        elif said == "unknown":
            note(database, RECEIVE, order, "received", "reserved")
            response.status_code = 202
        else:
            note(database, DECIDE, order, "refused", "declined")
            raise HTTPException(503 if said == "no answer" else 409, said)

    return app


def relay(kafka: dict[str, Any], database_url: str, topics: Mapping[str, str]) -> None:
    """Publish what is in the outbox, in its sequence; dies at any error and keeps what it took."""
    database, producer = create_engine(database_url), KafkaProducer(acks="all", **kafka)
    while True:
        with database.begin() as transaction:
            taken = transaction.execute(text(f"{NEXT} RETURNING n, event, body")).all()
            for _, event, body in sorted(tuple(row) for row in taken):
                key = json.loads(body)["number"].encode()
                producer.send(topics[event], body.encode(), key=key).get(timeout=30)
        if not taken:
            sleep(0.02)
