"""A shop that is open: its processes, its topics, and a bank and a mail provider of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, make_url, text

from shoplab.shops import styles
from shoplab.shops.business import BANK, MAIL, OUTSIDERS, TABLES, outsider

if TYPE_CHECKING:
    from shoplab.lab import Lab
    from shoplab.measure.wire import Wire
    from shoplab.processes.handles import Service, Worker
    from shoplab.stack.client import PrivateCluster, PrivateServer

STYLES = ("synchronous", "asynchronous", "hybrid")
EVENTS = ("placed", "reserved", "sold out", "paid", "declined")
DESK = {"paid": "confirm", "declined": "refuse"}
PAYMENT = {"payment": {"reserved": "charge"}}
FOLLOW = {"mailer": {"paid": "tell"}, "analytics": {"paid": "count"}}
DUTIES: dict[str, dict[str, dict[str, str]]] = {
    "synchronous": {},
    "asynchronous": {
        "desk": {"placed": "receive", "sold out": "refuse"} | DESK,
        "inventory": {"placed": "reserve", "declined": "release"},
    }
    | PAYMENT
    | FOLLOW,
    "hybrid": {"desk": DESK, "inventory": {"declined": "release"}} | PAYMENT | FOLLOW,
}
"""The workers of each style, and which step each does for which event."""

CALLED = {"synchronous": ("inventory", "analytics"), "asynchronous": (), "hybrid": ("inventory",)}
"""The services of each style, beside the door, that are reached by request."""


@dataclass
class Shop:
    """A shop's processes by their names, where it is reached, and where its books are.

    ``books`` are the keys in Redis under which bank and mail provider note its orders; ``topics``
    maps each event that a worker hears to its topic. ``version`` is the key in Redis of the version
    of its analytics.
    """

    style: str
    door: Service
    services: dict[str, Service]
    workers: dict[str, Worker]
    urls: dict[str, str]
    database_url: str
    books: dict[str, str]
    topics: dict[str, str]
    version: str


def open_shop(
    lab: Lab,
    cluster: PrivateCluster,
    server: PrivateServer,
    style: str,
    *,
    bank: float = BANK,
    wire: Wire | None = None,
    **written: Any,
) -> Shop:
    """Open a shop with a bank and a mail provider of its own; its workers have joined.

    ``bank`` is how many seconds that takes for an order. With a ``wire`` its processes reach each
    other and the broker over it, as "http" and "kafka". ``written`` takes the place of ``styles``'
    ``by_event``, ``relay`` and doors, by their names.
    """
    code = vars(styles) | written
    kafka = cluster.kafka | {"reconnect_backoff_max_ms": 200}
    if wire is not None:
        kafka["proxy_url"] = wire.proxy("kafka")
    reach = partial(wire.through, name="http") if wire is not None else str
    books = {name: lab.name(f"{name}-{style}") for name in OUTSIDERS}
    heard = {event for duties in DUTIES[style].values() for event in duties}
    topics = {
        event: lab.topic(f"{style}-{event.replace(' ', '-')}", cluster=cluster)
        for event in EVENTS
        if event in heard
    }
    version = lab.name(f"version-{style}")
    database_url = _new_database(server, style)
    groups = {name: lab.name(f"{style}-{name}") for name in DUTIES[style]}
    with lab.together():
        work = {"bank": bank, "mail": MAIL}
        services = {
            name: lab.serve(
                outsider, lab.redis_url, books[name], work[name], threads=counters, name=name
            )
            for name, counters in OUTSIDERS.items()
        }
        urls = {name: reach(each.url) for name, each in services.items()} | {"version": version}
        world = (database_url, lab.redis_url, urls)
        for name in CALLED[style]:
            services[name] = lab.serve(styles.by_request, *world, name=name)
            urls[name] = reach(services[name].url)
        workers = {
            name: lab.run(
                code["by_event"], kafka, group, DUTIES[style][name], topics, *world, name=group
            )
            for name, group in groups.items()
        }
        if style == "hybrid":
            workers["relay"] = lab.run(code["relay"], kafka, database_url, topics)
        arguments = (kafka, topics) if style == "asynchronous" else world
        door = lab.serve(code[style], *arguments)
    for group in groups.values():
        lab.until(partial(_has_joined, lab, cluster, group), timeout=30)
    return Shop(style, door, services, workers, urls, database_url, books, topics, version)


def _has_joined(lab: Lab, cluster: PrivateCluster, group: str) -> bool:
    return lab.members(group, cluster=cluster) == 1


def _new_database(server: PrivateServer, name: str) -> str:
    admin = create_engine(server.url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    url = make_url(server.url).set(database=name).render_as_string(hide_password=False)
    with create_engine(url).begin() as transaction:
        transaction.execute(text(TABLES))
    return url
