"""The laboratory that a notebook works with."""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import psutil

from shoplab.environment import apply_here
from shoplab.errors import ProcessError
from shoplab.paths import home_directory, private_directory
from shoplab.processes import Process, Service, Worker
from shoplab.processes.carry import function_name
from shoplab.waiting import announced, until

if TYPE_CHECKING:  # imported on first use: they cost more than a notebook may need
    from kafka import KafkaAdminClient
    from kafka.consumer.fetcher import ConsumerRecord

    from shoplab.claims import Value as Measured
    from shoplab.measure.lag import LagRecording
    from shoplab.measure.load import LoadResult
    from shoplab.measure.spans import Span
    from shoplab.stack import PrivateCluster, PrivateServer, Stack

Value = TypeVar("Value")

KEPT_FOR = 24 * 3600
"""Seconds after which the directory of a run that could not remove it is swept."""


class Lab:
    """Live servers, processes of one's own, and instruments, for one run of one notebook.

    Servers start on first use and are shared with other notebooks; what this run makes on them
    carries the run's own suffix. Logs and spans are in ``directory``, which ``close`` removes,
    except after a failure. A local proxy setting (``HTTP_PROXY``) is told to spare 127.0.0.1.

    ``number`` is the notebook's, such as ``"04-3"``. Spans of the notebook itself are recorded as
    those of ``service``; ``traced=False`` records none, here and in every process.
    """

    def __init__(self, number: str, *, service: str = "notebook", traced: bool = True) -> None:
        """Make the run's directory; no server starts yet."""
        self.number = number
        self.suffix = secrets.token_hex(3)
        self.traced = traced
        runs = private_directory(home_directory() / "runs")
        _sweep(runs)
        name = re.sub(r"[^\w-]", "-", f"{number}-{self.suffix}")
        self.directory = private_directory(runs / f"{name}.{os.getpid()}")
        self._processes: list[Process] = []
        self._starting: list[Service] | None = None
        self._topics: dict[str, PrivateCluster | None] = {}
        self._failed = False
        self._stack_in_use: Stack | None = None
        apply_here()
        if traced:
            from shoplab.measure.spans import record_spans

            record_spans(service, self.directory / "spans")
        atexit.register(self._end)

    # Servers

    @property
    def kafka(self) -> dict[str, Any]:
        """Settings of a Kafka client: ``KafkaProducer(**lab.kafka)``."""
        return dict(self._stack.kafka)

    @property
    def redis_url(self) -> str:
        """The address for ``redis.Redis.from_url``."""
        return self._stack.redis_url

    @cached_property
    def database_url(self) -> str:
        """The address for ``sqlalchemy.create_engine``; its tables are in a schema of this run."""
        from shoplab.belongings import create_schema

        return create_schema(self._stack.database_url, self._schema)

    @cached_property
    def rabbitmq_url(self) -> str | None:
        """The address for ``pika.URLParameters``; None where no RabbitMQ is at hand.

        That is one of this notebook's own, where ``rabbitmq-server`` is installed, or the one that
        ``RABBITMQ_URL`` names.
        """
        return self._stack.rabbitmq_url

    def cluster(self, brokers: int = 3) -> PrivateCluster:
        """A Kafka cluster of this notebook's own, to break; it ends with the lab."""
        return self._stack.cluster(brokers)

    def postgres(self, max_connections: int = 100) -> PrivateServer:
        """A PostgreSQL of this notebook's own, to break: its ``url`` is for ``create_engine``.

        It refuses whoever comes beyond ``max_connections``. It ends with the lab.
        """
        return self._stack.private("postgres", max_connections=max_connections)

    def name(self, base: str) -> str:
        """``base`` with the run's suffix, ``orders-7f3a9c`` say: for keys, groups and tables."""
        return f"{base}-{self.suffix}"

    def topic(
        self,
        base: str,
        partitions: int = 1,
        replicas: int = 1,
        *,
        cluster: PrivateCluster | None = None,
        **config: Any,
    ) -> str:
        """Create a topic and return its name; it is new and empty, also when a cell runs again.

        ``config`` are the topic's settings with underscores: ``retention_bytes=1_000_000``.
        """
        from shoplab.belongings import create_topic

        name = _first_free(self.name(base), self._topics)
        kafka = self._kafka_of(cluster)
        create_topic(kafka, name, partitions=partitions, replicas=replicas, config=config)
        self._topics[name] = cluster
        return name

    # Processes

    def serve(
        self,
        factory: Callable[..., Any],
        *arguments: Any,
        name: str | None = None,
        threads: int | None = None,
        port: int | None = None,
        backlog: int | None = None,
        limit_concurrency: int | None = None,
        traced: bool | None = None,
        **keywords: Any,
    ) -> Service:
        """Serve the ASGI application that ``factory(*arguments, **keywords)`` returns.

        It has a process of its own, named after the factory unless ``name`` is given, and answers
        when this returns. ``threads`` is how many synchronous endpoints run at once (40 if not
        given), ``limit_concurrency`` how many connections and requests before the answer is 503,
        ``backlog`` how many connections wait to be accepted.
        """
        own_name = self._free_name(name or function_name(factory))
        with announced(f"Starting {own_name} ..."):
            service = Service(
                factory,
                arguments,
                keywords,
                name=own_name,
                directory=self.directory,
                traced=self.traced if traced is None else traced,
                threads=threads,
                port=port,
                backlog=backlog,
                limit_concurrency=limit_concurrency,
                wait=self._starting is None,
            )
        self._processes.append(service)
        if self._starting is not None:
            self._starting.append(service)
        return service

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let the services that are served in the block start side by side.

        Their addresses are known at once, and refuse connections until a service is up; all of them
        answer when the block ends.

        >>> with lab.together():  # doctest: +SKIP
        ...     payment = lab.serve(payment_service)
        ...     shop = lab.serve(shop_service, payment.url)
        """
        starting: list[Service] = []
        self._starting = starting
        try:
            yield
        finally:
            self._starting = None
        with announced(f"Starting {', '.join(service.name for service in starting)} ..."):
            for service in starting:
                service.await_ready()

    def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        name: str | None = None,
        traced: bool | None = None,
        **keywords: Any,
    ) -> Worker:
        """Run ``function(*arguments, **keywords)`` in a process of its own; returns at once."""
        worker = Worker(
            function,
            arguments,
            keywords,
            name=self._free_name(name or function_name(function)),
            directory=self.directory,
            traced=self.traced if traced is None else traced,
        )
        self._processes.append(worker)
        return worker

    # Instruments

    def until(
        self, condition: Callable[[], Value], timeout: float = 10.0, every: float = 0.02
    ) -> Value:
        """Await a true value of ``condition`` for ``timeout`` seconds, and return it."""
        return until(condition, timeout, every=every)

    def offer(self, url: str, *, rate: float, **load: Any) -> LoadResult:
        """Offer open-loop load to a service; see ``shoplab.measure.load.offer``."""
        from shoplab.measure.load import offer

        with announced(f"Offering {rate:g} requests a second to {url} ..."):
            return offer(url, rate=rate, **load)

    def watch_lag(
        self, topic: str, group: str, cluster: PrivateCluster | None = None
    ) -> AbstractContextManager[LagRecording]:
        """Record a consumer group's lag while the block runs; see ``shoplab.measure.lag``."""
        from shoplab.measure.lag import watch_lag

        return watch_lag(self._kafka_of(cluster), topic, group)

    def lag(self, topic: str, group: str) -> int:
        """How many records of a topic the group has yet to handle, now.

        That is up to the end from what the group has committed, or from the first record where it
        has committed nothing: ``lab.until(lambda: lab.lag(topic, group) == 0)``.
        """
        from shoplab.measure.lag import lag

        return lag(self._admin, topic, group)

    def records(
        self, topic: str, *, cluster: PrivateCluster | None = None, **settings: Any
    ) -> list[ConsumerRecord]:
        """What is in a topic, from its first record to its end; see ``shoplab.measure.records``.

        ``settings`` are the consumer's, such as ``isolation_level="read_committed"``.
        """
        from shoplab.measure.records import read_records

        return read_records(self._kafka_of(cluster), topic, **settings)

    def members(self, group: str) -> int:
        """How many consumers have joined a group and have their partitions; 0 while it rebalances.

        A consumer that was started a moment ago has not joined yet:
        ``lab.until(lambda: lab.members(group) == 2)``.
        """
        from shoplab.belongings import members

        return members(self._admin, group)

    def spans(self, since: float = 0.0) -> list[Span]:
        """The finished spans of all processes of this lab, the earliest start first.

        ``since`` leaves out those that began before a moment, in seconds since the epoch.
        """
        from shoplab.measure.spans import read_spans

        return [span for span in read_spans(self.directory / "spans") if span.start >= since]

    def claim(
        self,
        claim_id: str,
        *,
        control: Measured,
        treatment: Measured,
        unit: str,
        holds: Callable[..., bool],
        limits: Mapping[str, Measured] | None = None,
    ) -> None:
        """Judge a claim by its two measured values and record it; see ``shoplab.claims.claim``."""
        from shoplab.claims import claim, ledger_directory

        claim(
            claim_id,
            control=control,
            treatment=treatment,
            unit=unit,
            holds=holds,
            limits=limits,
            notebook=self.number,
            directory=ledger_directory(self.directory / "ledger"),
        )

    # The end

    def close(self) -> None:
        """End the processes, drop what this run made on the servers, end the lease.

        Safe to repeat. An interpreter that exits does the same, except for topics and the schema.
        """
        self._stop_processes()
        try:
            self._drop_what_was_made()
        finally:
            self._end()

    def __enter__(self) -> Lab:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        """Close; the logs stay if the block failed."""
        self._failed = self._failed or kind is not None
        self.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to travel into another process."""
        raise ProcessError(
            "A Lab cannot travel into another process.",
            next_step="pass what the function needs of it as arguments: "
            "lab.run(worker, lab.kafka, topic), and name them in the function's parameters",
        )

    @property
    def _stack(self) -> Stack:
        if self._stack_in_use is None:
            from shoplab.stack import Stack

            self._stack_in_use = Stack()
        return self._stack_in_use

    def _kafka_of(self, cluster: PrivateCluster | None) -> dict[str, Any]:
        return self.kafka if cluster is None else cluster.kafka

    @cached_property
    def _admin(self) -> KafkaAdminClient:
        from kafka import KafkaAdminClient

        return KafkaAdminClient(**self.kafka)

    @property
    def _schema(self) -> str:
        return re.sub(r"\W", "_", f"lab_{self.number}_{self.suffix}")

    def _free_name(self, wanted: str) -> str:
        return _first_free(wanted, {each.name for each in self._processes if each.alive})

    def _stop_processes(self) -> None:
        for process in reversed(self._processes):
            try:
                process.release()
            except ProcessError as error:
                self._failed = True
                print(error, file=sys.stderr)

    def _drop_what_was_made(self) -> None:
        shared = [topic for topic, cluster in self._topics.items() if cluster is None]
        self._topics.clear()
        if shared:
            from shoplab.belongings import delete_topics

            delete_topics(self.kafka, shared)
        if self.__dict__.pop("database_url", None):
            from shoplab.belongings import drop_schema

            drop_schema(self._stack.database_url, self._schema)

    def _end(self) -> None:
        atexit.unregister(self._end)
        self._stop_processes()
        if admin := self.__dict__.pop("_admin", None):
            admin.close()
        if self._stack_in_use is not None:
            self._stack_in_use.close()
            self._stack_in_use = None
        if self.traced:
            from shoplab.measure.spans import stop_recording

            stop_recording(self.directory / "spans")
        if not self._failed:
            shutil.rmtree(self.directory, ignore_errors=True)


def _first_free(name: str, taken: Container[str]) -> str:
    """``name``, or ``name-2``, ``name-3`` and so on: the first that is not taken."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(free for free in chain([name], numbered) if free not in taken)


def _sweep(runs: Path) -> None:
    """Remove what killed kernels left, a day later: until then their logs may be wanted."""
    for left in runs.iterdir():
        owner = left.suffix.removeprefix(".")
        with suppress(FileNotFoundError):  # another kernel sweeps as well
            old = time.time() - left.stat().st_mtime > KEPT_FOR
            if old and owner.isdigit() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(left, ignore_errors=True)
