"""The laboratory's own figures, each against its target; exit status 1 if one is missed.

It uses a stack of its own, never the one that notebooks share. Times depend on the machine and on
what else it does, so the targets are ratios of two times measured in turns, or wide bounds.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
import redis
import requests
import sqlalchemy
from fastapi import FastAPI
from kafka import KafkaConsumer, KafkaProducer

from shoplab import Lab
from shoplab.measure.accuracy import measure_accuracy
from shoplab.measure.memory import memory
from shoplab.paths import home_directory
from shoplab.ports import free_ports
from shoplab.servers.kafka.broker import Broker
from shoplab.servers.kafka.defaults import DefaultBroker
from shoplab.servers.kafka.setup import set_up
from shoplab.stack import Stack
from shoplab.stack.leftovers import left_behind
from shoplab.waiting import until
from tools.bench_shop import measure_shop

ROUNDS = 3
TIME_RATIO, MEMORY_RATIO, STACK_MB, FORK_RATIO = 0.45, 0.5, 350.0, 0.4
EACH_S, UNCHANGED_RATIO, CHANGED_RATIO = 10.0, 0.12, 0.35
RATES = (100, 500, 1000, 2000)
EXTERNAL = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "DATABASE_URL")


@dataclass
class Report:
    """Prints each figure as it comes and remembers whether all met their targets."""

    missed: int = 0

    def line(self, what: str, value: str, target: str = "", met: bool = True) -> None:
        """One figure; ``target`` empty where there is none."""
        self.missed += not met
        verdict = f"{'met' if met else 'MISSED'} ({target})" if target else ""
        print(f"{what:<58}{value:>16}  {verdict}".rstrip(), flush=True)


def main() -> int:
    """Measure everything; return the exit status."""
    for variable in EXTERNAL:
        os.environ.pop(variable, None)
    os.environ["SHOPLAB_GRACE"] = "1"
    report = Report()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before; medians of {ROUNDS}\n")
    with tempfile.TemporaryDirectory(prefix="shoplab-bench-") as folder:
        os.environ["SHOPLAB_HOME"] = str(Path(folder, "home"))
        set_up()
        measure_stack(report)
        measure_kafka(report, Path(folder, "brokers"))
        measure_service(report)
        measure_load_generator(report)
        measure_shop(report)
        measure_book(report, Path(folder, "a copy"))
        until(lambda: not left_behind(home_directory()), timeout=30.0)
    print(f"\n{report.missed} targets missed" if report.missed else "\nall targets met")
    return 1 if report.missed else 0


def measure_stack(report: Report) -> None:
    """From nothing, and warm, to the first event produced and consumed; memory of the whole."""
    with timed() as cold, Stack() as stack:
        first_event(stack.kafka)
        cold.stop()
        with timed() as warm, Stack() as second:
            first_event(second.kafka)
        with timed() as cache:
            redis.Redis.from_url(stack.redis_url).set("bench", 1)
        with timed() as database:
            engine = sqlalchemy.create_engine(stack.database_url)
            with engine.connect() as connection:
                connection.execute(sqlalchemy.text("SELECT 1"))
            engine.dispose()
        status = stack.status()
    assert status is not None
    parts = {"supervisor": status["supervisor"], **status["servers"]}
    used = {name: part["memory_mb"] for name, part in parts.items()}
    report.line("stack from nothing to the first event consumed", f"{cold.seconds:.2f} s")
    ratio = warm.seconds / cold.seconds
    report.line("warm stack to the first event consumed", f"{warm.seconds:.2f} s")
    report.line("  as a ratio of the start from nothing", f"{ratio:.2f}")
    report.line("Redis from nothing to its first write", f"{cache.seconds:.2f} s")
    report.line("PostgreSQL from nothing to its first answer", f"{database.seconds:.2f} s")
    total = sum(used.values())
    target = f"at most {STACK_MB:.0f} MB"
    report.line("memory of the whole stack", f"{total:.0f} MB", target, total <= STACK_MB)
    for name, megabytes in used.items():
        report.line(f"  {name}", f"{megabytes:.0f} MB")


def first_event(kafka: dict[str, Any]) -> None:
    """Produce one event to a topic that is new, and consume it."""
    lab = Lab("bench", traced=False)
    try:
        topic = lab.topic("first")
        producer = KafkaProducer(**kafka)
        producer.send(topic, b"event").get(timeout=10)
        producer.close(timeout=5)
        consumer = KafkaConsumer(topic, auto_offset_reset="earliest", **kafka)
        until(lambda: consumer.poll(timeout_ms=100))
        consumer.close()
    finally:
        lab.close()


def measure_kafka(report: Report, folder: Path) -> None:
    """Our settings against Kafka's own, in turns: format, start and round trip, then memory."""
    figures: dict[type[Broker], list[tuple[float, float]]] = {Broker: [], DefaultBroker: []}
    for turn in range(ROUNDS):
        for kind, found in figures.items():
            found.append(start_once(kind, folder / f"{kind.__name__}-{turn}"))
    medians = {
        kind: [statistics.median(column) for column in zip(*found, strict=True)]
        for kind, found in figures.items()
    }
    (own_time, own_memory), (default_time, default_memory) = medians.values()
    ratio = own_time / default_time
    report.line("Kafka with our settings, format to round trip", f"{own_time:.2f} s")
    report.line("Kafka with its own defaults", f"{default_time:.2f} s")
    report.line("  ratio", f"{ratio:.2f}", f"at most {TIME_RATIO}", ratio <= TIME_RATIO)
    ratio = own_memory / default_memory
    report.line("Kafka with our settings, memory", f"{own_memory:.0f} MB")
    report.line("Kafka with its own defaults, memory", f"{default_memory:.0f} MB")
    report.line("  ratio", f"{ratio:.2f}", f"at most {MEMORY_RATIO}", ratio <= MEMORY_RATIO)


def start_once(kind: type[Broker], directory: Path) -> tuple[float, float]:
    """Seconds to the round trip, and MB then."""
    client, controller = free_ports(2)
    # A home apart: a stack that leaves ends whatever carries the mark of its own.
    broker = kind(1, directory, directory.parent, set_up(), {1: (client, controller)})
    try:
        with timed() as start:
            broker.start()
        assert broker.pid is not None
        return start.seconds, memory([psutil.Process(broker.pid)])
    finally:
        broker.stop()


def hello() -> FastAPI:
    """A service that says hello."""
    app = FastAPI()

    @app.get("/")
    def greet() -> str:
        return "hello"

    return app


def measure_service(report: Report) -> None:
    """From `lab.serve` to the first answer, in a forked child and in a fresh interpreter."""

    def once() -> None:
        requests.get(lab.serve(hello).url, timeout=5).raise_for_status()

    lab = Lab("bench")
    try:
        once()  # the fork server may still be loading
        forked = median_seconds(once)
        os.environ["SHOPLAB_FORK"] = "off"
        fresh = median_seconds(once)
    finally:
        os.environ.pop("SHOPLAB_FORK", None)
        lab.close()
    ratio = forked / fresh
    target = f"at most {FORK_RATIO}" if sys.platform == "linux" else ""
    met = ratio <= FORK_RATIO or not target
    report.line("lab.serve to the first answer", f"{forked:.2f} s")
    report.line("lab.serve in a fresh interpreter", f"{fresh:.2f} s")
    report.line("  ratio", f"{ratio:.2f}", target, met)


def measure_load_generator(report: Report) -> None:
    """Lateness at several rates, on a target that does nothing: what this machine can offer."""
    for rate in RATES:
        result = measure_accuracy(rate)
        kept = "kept its schedule" if result.kept_schedule else "fell behind, and says so"
        late = f"{result.lateness_percentile(99) * 1000:.1f} ms, {kept}"
        report.line(f"load generator at {rate:,} a second, p99 lateness", late)


def measure_book(report: Report, copy: Path) -> None:
    """The book in a ``copy`` of the checkout: from nothing, unchanged, one notebook changed."""
    for name in subprocess.check_output(["git", "ls-files"], text=True).splitlines():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, target)

    def build() -> tuple[float, float]:
        began = psutil.cpu_times()
        with timed() as watch:
            command = [sys.executable, "-m", "tools.book"]
            subprocess.run(command, cwd=copy, check=True, stdout=subprocess.DEVNULL)
            watch.stop()
        ended = psutil.cpu_times()
        return watch.seconds, ended.user - began.user + ended.system - began.system

    (fresh, processor), (unchanged, _) = build(), build()
    changed = sorted(copy.glob("notebooks/*.ipynb"))[-1]
    notebook = nbformat.read(changed, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("len('a cell more')"))
    nbformat.write(notebook, changed)
    one, _ = build()
    count = len(list(copy.glob("notebooks/*.ipynb")))
    report.line(f"the book from nothing, {count} notebooks", f"{fresh:.0f} s")
    report.line("  processor time of the machine meanwhile", f"{processor:.0f} s")
    each = fresh / count
    report.line("  for each notebook", f"{each:.1f} s", f"at most {EACH_S:.0f} s", each <= EACH_S)
    for what, seconds, most in (
        ("the book, nothing changed", unchanged, UNCHANGED_RATIO),
        (f"the book, {changed.stem[:4]} changed", one, CHANGED_RATIO),
    ):
        report.line(what, f"{seconds:.0f} s")
        ratio = seconds / fresh
        report.line("  ratio", f"{ratio:.2f}", f"at most {most}", ratio <= most)


class Stopwatch:
    """Seconds since it was made, until it is stopped."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.seconds = 0.0

    def stop(self) -> None:
        """Take the time, once."""
        self.seconds = self.seconds or time.perf_counter() - self.began


@contextmanager
def timed() -> Iterator[Stopwatch]:
    """Take the time of a block."""
    watch = Stopwatch()
    yield watch
    watch.stop()


def median_seconds(action: Callable[[], None]) -> float:
    """The median time of an action."""
    times = []
    for _ in range(ROUNDS):
        with timed() as watch:
            action()
        times.append(watch.seconds)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
