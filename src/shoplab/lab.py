"""The laboratory that a notebook works with."""

from __future__ import annotations

import atexit
import itertools
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from shoplab.belongings import Belongings, first_free
from shoplab.cells import Cells, in_ipython
from shoplab.claims import claim, ledger_directory
from shoplab.digits import Value as Measured
from shoplab.environment import apply_here
from shoplab.errors import DeadlineError, LabError, ProcessError, SetupError, unforeseen
from shoplab.measure.history import History
from shoplab.measure.lag import LagRecording, lag, watch_lag
from shoplab.measure.load import Body, Headers, LoadResult, offer
from shoplab.measure.members import assignment, members
from shoplab.measure.plan import Retry
from shoplab.measure.records import PATIENCE, read_records
from shoplab.paths import error_log, private_directory
from shoplab.processes import Job, Limits, Process, Service, Worker, prepare
from shoplab.processes.carry import function_name
from shoplab.processes.crashes import CrashPlan, Point
from shoplab.run import Run
from shoplab.stack import ManagedServers, PrivateCluster, PrivateServer, Stack
from shoplab.verdicts import Condition, Correction, Decider
from shoplab.waiting import announced, until

if TYPE_CHECKING:  # OpenTelemetry is imported after the user's settings of it have gone
    from shoplab.measure.spans import Span, TraceShape

Value = TypeVar("Value")

_of_the_kernel: dict[str, Lab] = {}
"""The labs of a notebook's kernel by number, except those that a ``with`` block ends."""


class Lab:
    """Live servers, processes of one's own, and instruments, for one run of one notebook.

    Servers start on first use and are shared with other notebooks; what this run makes on them
    carries the run's own suffix. Logs and spans are in ``directory``, which ``close`` removes,
    except after a failure. The user's settings of the course's libraries (``OTEL_...``,
    ``AWS_...``) do not count from here on; a local proxy (``HTTP_PROXY``) is told to spare
    127.0.0.1.

    ``number`` is the notebook's, such as ``"04-3"``. Spans of the notebook itself are recorded as
    those of ``service``; ``traced=False`` records none, here and in every process.

    In a notebook's kernel a second lab of the same number takes the place of the first, which is
    closed: so *Run All* can be run again. What a cell starts takes the place of what the same cell
    started when it ran before. Two labs at the same time have two numbers, or are each held by a
    ``with`` block. A program that is no notebook may have as many as it likes.
    """

    def __init__(self, number: str, *, service: str = "notebook", traced: bool = True) -> None:
        """Make the run's directory; no server starts yet. ``SetupError`` where asserts are off."""
        try:
            self._open(number, service, traced)
        except LabError:
            raise
        except Exception as error:
            raise unforeseen(error, error_log()) from error

    def _open(self, number: str, service: str, traced: bool) -> None:
        _check_that_asserts_run()
        apply_here()
        prepare()
        _close_earlier(number)
        self.number = number
        self.traced = traced
        self._ends = ExitStack()
        self._run = Run(number)
        self._ends.callback(self._run.remove)
        self.suffix = self._run.suffix
        self.directory = self._run.directory
        if traced:
            from shoplab.measure.spans import record_spans, stop_recording

            record_spans(service, self.directory / "spans")
            self._ends.callback(stop_recording, self.directory / "spans")
        self._stack = Stack()
        self._ends.callback(self._stack.close)
        self._belongings = Belongings()
        self._ends.callback(self._belongings.drop)
        self._admins: dict[PrivateCluster | None, KafkaAdminClient] = {}
        self._processes: list[Process] = []
        self._starting: list[Service] | None = None
        self._plans: list[CrashPlan] = []
        self._numbers = itertools.count(1)
        self._cells = Cells()
        atexit.register(self._leave)
        self._ends.callback(atexit.unregister, self._leave)
        if in_ipython():
            _of_the_kernel[number] = self

    # Servers

    @property
    def kafka(self) -> dict[str, Any]:
        """Settings of a Kafka client: ``KafkaProducer(**lab.kafka)``."""
        return dict(self._stack.kafka)

    @property
    def redis_url(self) -> str:
        """The address for ``redis.Redis.from_url``."""
        return self._stack.redis_url

    @property
    def database_url(self) -> str:
        """The address for ``sqlalchemy.create_engine``; its tables are in a schema of this run."""
        schema = re.sub(r"\W", "_", f"lab_{self.number}_{self.suffix}")
        return self._belongings.schema(schema, self._stack.database_url)

    @cached_property
    def rabbitmq_url(self) -> str | None:
        """The address for ``pika.URLParameters``; None where no RabbitMQ is at hand.

        That is one of this notebook's own, where ``rabbitmq-server`` is installed, or the one that
        ``RABBITMQ_URL`` names.
        """
        return self._stack.rabbitmq_url

    def cluster(self, brokers: int = 3) -> PrivateCluster:
        """A Kafka cluster of this notebook's own, to break; it ends with the lab."""
        self._cells.end_earlier()
        cluster = self._stack.cluster(brokers)
        self._cells.started(cluster.program, lambda: bool(cluster.brokers), cluster.stop)
        return cluster

    def postgres(self, max_connections: int = 100) -> PrivateServer:
        """A PostgreSQL of this notebook's own, to break: its ``url`` is for ``create_engine``.

        It refuses whoever comes beyond ``max_connections``. It ends with the lab.
        """
        self._cells.end_earlier()
        server = self._stack.private("postgres", max_connections=max_connections)
        self._cells.started(server.program, lambda: True, server.stop)
        return server

    def redis(self) -> PrivateServer:
        """A Redis of this notebook's own, to break: its ``url`` is for ``redis.Redis.from_url``.

        It ends with the lab.
        """
        self._cells.end_earlier()
        server = self._stack.private("redis")
        self._cells.started(server.program, lambda: True, server.stop)
        return server

    def managed(self) -> ManagedServers:
        """Kafka, Redis and PostgreSQL as a provider offers them: with TLS and passwords.

        Their ``variables`` point a program at them: ``KAFKA_...``, ``REDIS_URL``, ``DATABASE_URL``.
        They are this notebook's own, and end with the lab.
        """
        self._cells.end_earlier()
        servers = self._stack.managed()
        self._cells.started(servers.program, lambda: True, servers.stop)
        return servers

    def name(self, base: str) -> str:
        """``base`` with the run's suffix, ``orders-7f3a9c`` say: for keys, groups and tables."""
        return f"{base}-{self.suffix}"

    def topic(
        self,
        base: str,
        partitions: int = 1,
        replicas: int = -1,
        *,
        cluster: PrivateCluster | None = None,
        **config: Any,
    ) -> str:
        """Create a topic and return its name; it is new and empty, also when a cell runs again.

        Without ``replicas`` the cluster makes as many as it does by default, the local one a single
        one. ``config`` are the topic's settings with underscores: ``retention_bytes=1_000_000``.
        """
        return self._belongings.topic(
            self.name(base),
            self._kafka_of(cluster),
            private=cluster is not None,
            partitions=partitions,
            replicas=replicas,
            config=config,
        )

    # Processes

    def serve(
        self,
        factory: Callable[..., Any],
        *arguments: Any,
        name: str | None = None,
        threads: int = 40,
        port: int | None = None,
        backlog: int = 2048,
        limit_concurrency: int | None = None,
        traced: bool | None = None,
        **keywords: Any,
    ) -> Service:
        """Serve the ASGI application that ``factory(*arguments, **keywords)`` returns.

        It has a process of its own, named after the factory unless ``name`` is given, and answers
        when this returns. ``threads`` is how many synchronous endpoints run at the same time,
        ``limit_concurrency`` how many connections and requests before the answer is 503,
        ``backlog`` how many connections wait to be accepted.
        """
        self._cells.end_earlier()
        job = self._job(factory, arguments, keywords, name, traced)
        limits = Limits(threads, backlog, limit_concurrency)
        service = Service(job, limits, port=port, wait=self._starting is None)
        self._hold(service)
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
        """Run ``function(*arguments, **keywords)`` in a process of its own; returns at once.

        The process is named after the function unless ``name`` is given.
        """
        self._cells.end_earlier()
        worker = Worker(self._job(function, arguments, keywords, name, traced))
        self._hold(worker)
        return worker

    def enter(self, held: AbstractContextManager[Value]) -> Value:
        """Enter ``held`` and return what it yields; it is left when the lab closes.

        So ends whatever is not a process of the lab's own: a client, a container, a whole program.
        """
        self._cells.end_earlier()
        holding = ExitStack()
        value = holding.enter_context(held)
        self._ends.callback(holding.close)
        self._cells.started(type(held).__name__, lambda: True, holding.close)
        return value

    def crashes(self, faults: Mapping[Point, signal.Signals]) -> CrashPlan:
        """Plan faults: ``{("charged", 25): signal.SIGKILL}``, a point in the code, a key, a signal.

        Hand the plan to a process as an argument; there ``plan.reached("charged", order)`` strikes,
        once. ``plan.assert_struck()`` fails while one has not struck, and so does ``claim``.
        """
        self._cells.end_earlier()
        directory = private_directory(self.directory / "crashes") / str(next(self._numbers))
        plan = CrashPlan(directory, dict(faults)).lay_out()
        self._plans.append(plan)
        self._cells.started("a crash plan", lambda: False, lambda: self._plans.remove(plan))
        return plan

    # Instruments

    def history(self, name: str) -> History:
        """A history to which processes append what they ask for, are told and do.

        It is new and empty, also when a cell runs again. Hand it to a process as an argument;
        ``history.check()`` tells whether what was acknowledged was done exactly once.
        """
        file = re.sub(r"[^\w-]", "-", f"{next(self._numbers)}-{name}")
        path = private_directory(self.directory / "histories") / file
        path.touch(mode=0o600)
        return History(path)

    def until(
        self, condition: Callable[[], Value], timeout: float = 30.0, every: float = 0.02
    ) -> Value:
        """Await a true value of ``condition`` for ``timeout`` seconds, and return it.

        ``DeadlineError`` names the condition and its last value, and shows the log of a process
        that has died, else the log to which one has written last.
        """
        try:
            return until(condition, timeout, every=every)
        except DeadlineError as error:
            raise self._with_a_log(error) from None

    def offer(
        self,
        url: str,
        *,
        rate: float,
        count: int | None = None,
        seconds: float | None = None,
        method: str = "GET",
        json: Body = None,
        headers: Headers = None,
        timeout: float = 5.0,
        connections: int = 0,
        arrivals: Literal["constant", "poisson"] = "constant",
        retry: Retry | None = None,
        seed: int = 1,
    ) -> LoadResult:
        """Offer ``rate`` requests a second to a local service, until ``count`` or ``seconds``.

        The load is open-loop: a request leaves when it is due, whatever became of the earlier ones.
        ``shoplab.measure.load.offer`` says more of each parameter, and what is refused.
        """
        with announced(f"Offering {rate:g} requests a second to {url} ..."):
            return offer(
                url,
                rate=rate,
                count=count,
                seconds=seconds,
                method=method,
                json=json,
                headers=headers,
                timeout=timeout,
                connections=connections,
                arrivals=arrivals,
                retry=retry,
                seed=seed,
            )

    def watch_lag(
        self, topic: str, group: str, *, cluster: PrivateCluster | None = None
    ) -> AbstractContextManager[LagRecording]:
        """Record a consumer group's lag while the block runs; see ``shoplab.measure.lag``."""
        return watch_lag(self._kafka_of(cluster), topic, group)

    def lag(self, topic: str, group: str, *, cluster: PrivateCluster | None = None) -> int:
        """How many records of a topic the group has yet to handle, now.

        That is up to the end from what the group has committed, or from the first record where it
        has committed nothing: ``lab.until(lambda: lab.lag(topic, group) == 0)``.
        """
        return lag(self._admin_of(cluster), topic, group)

    def records(
        self,
        topic: str,
        *,
        cluster: PrivateCluster | None = None,
        isolation_level: Literal["read_uncommitted", "read_committed"] = "read_uncommitted",
        patience: float = PATIENCE,
    ) -> list[ConsumerRecord]:
        """What is in a topic, from its first record to its end, and nobody's place moves.

        ``isolation_level="read_committed"`` leaves out what belongs to a transaction that was
        aborted. ``DeadlineError`` after ``patience`` seconds without a record.
        """
        kafka = self._kafka_of(cluster)
        return read_records(kafka, topic, patience=patience, isolation_level=isolation_level)

    def members(self, group: str, *, cluster: PrivateCluster | None = None) -> int:
        """How many consumers have joined a group and have their partitions; 0 while it rebalances.

        A consumer that was started a moment ago has not joined yet:
        ``lab.until(lambda: lab.members(group) == 2)``.
        """
        return members(self._admin_of(cluster), group)

    def assignment(
        self, group: str, *, cluster: PrivateCluster | None = None
    ) -> dict[str, set[TopicPartition]]:
        """The partitions that each member of a group holds; empty while it rebalances.

        A member is named by its ``client_id``, or by its ``member_id`` where another has the same;
        the partitions compare with ``consumer.assignment()``.
        """
        return assignment(self._admin_of(cluster), group)

    def session_timeout(self, wanted: int) -> int:
        """``wanted`` milliseconds, or the least that Kafka allows here if that is more.

        The local Kafka allows 1000, most others 6000: ``session_timeout_ms`` of a consumer.
        """
        from shoplab.servers.kafka.sessions import session_timeout

        return session_timeout(self._admin_of(None), wanted)

    def spans(self, since: float = 0.0) -> list[Span]:
        """The finished spans of all processes of this lab, the earliest start first.

        ``since`` leaves out those that began before a moment, in seconds since the epoch.
        """
        from shoplab.measure.spans import read_spans

        return [span for span in read_spans(self.directory / "spans") if span.start >= since]

    def shape(self, spans: Iterable[Span]) -> TraceShape:
        """Into how many traces spans fall, where those begin, and who called whom."""
        from shoplab.measure.spans import shape

        return shape(spans)

    def claim(
        self,
        claim_id: str,
        *,
        control: Measured,
        treatment: Measured,
        unit: str,
        holds: Condition,
        limits: Mapping[str, Measured] | None = None,
        decided_by: Decider | None = None,
        corrected: Correction | None = None,
    ) -> None:
        """Judge a claim by its two measured values and record it; see ``shoplab.claims.claim``.

        ``PlanError`` where one of the lab's planned faults never struck.
        """
        for plan in self._plans:
            plan.assert_struck()
        claim(
            claim_id,
            control=control,
            treatment=treatment,
            unit=unit,
            holds=holds,
            limits=limits,
            decided_by=decided_by,
            corrected=corrected,
            notebook=self.number,
            directory=ledger_directory(self.directory / "ledger"),
            servers=self._stack.programs(),
        )

    # The end

    def close(self) -> None:
        """End the processes, drop what this run made on the servers, end the lease.

        Safe to repeat. An interpreter that exits does the same, except for topics and the schema.
        """
        self._ends.close()

    def __enter__(self) -> Lab:
        """Return itself; the block's end will close it, and no other lab does."""
        _of_the_kernel.pop(self.number, None)
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        """Close; the logs stay if the block failed."""
        if kind is not None:
            self._run.keep()
        self.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to travel into another process."""
        raise ProcessError(
            "A Lab cannot travel into another process.",
            next_step="pass what the function needs of it as arguments: "
            "lab.run(worker, lab.kafka, topic), and name them in the function's parameters",
        )

    def _leave(self) -> None:
        self._belongings.forget()  # an exit does not wait for servers
        self._ends.close()

    def _job(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        name: str | None,
        traced: bool | None,
    ) -> Job:
        taken = {each.name for each in self._processes if each.alive}
        return Job(
            function,
            arguments,
            keywords,
            name=first_free(name or function_name(function), taken),
            directory=self.directory,
            traced=self.traced if traced is None else traced,
        )

    def _hold(self, process: Process) -> None:
        self._processes.append(process)
        self._ends.callback(self._end, process)
        self._cells.started(process.name, lambda: process.alive, lambda: self._replace(process))

    def _end(self, process: Process) -> None:
        try:
            process.release()
        except ProcessError as error:
            self._run.keep()
            print(error, file=sys.stderr)

    @staticmethod
    def _replace(process: Process) -> None:
        with suppress(ProcessError):  # it has died, and whoever runs the cell again knows
            process.release()

    def _with_a_log(self, error: DeadlineError) -> DeadlineError:
        if error.log is not None:
            return error
        dead = [each for each in self._processes if each.died]
        what = "\n".join([error.what, *(f"{each.name} {each.how_it_ended}." for each in dead)])
        logs = [each.log for each in dead or self._processes if each.log.exists()]
        written = [log for log in logs if log.stat().st_size]
        newest = max(written, key=lambda log: log.stat().st_mtime, default=None)
        return DeadlineError(what, next_step=error.next_step, log=newest)

    def _kafka_of(self, cluster: PrivateCluster | None) -> dict[str, Any]:
        return self.kafka if cluster is None else cluster.kafka

    def _admin_of(self, cluster: PrivateCluster | None) -> KafkaAdminClient:
        if cluster not in self._admins:
            admin = KafkaAdminClient(**self._kafka_of(cluster))
            self._ends.callback(admin.close)
            self._admins[cluster] = admin
        return self._admins[cluster]


def _check_that_asserts_run() -> None:
    if not __debug__:
        raise SetupError(
            "This Python leaves assertions out (PYTHONOPTIMIZE, or the option -O), and they are "
            "how the experiments check what they claim.",
            next_step="start the kernel again without it",
        )


def _close_earlier(number: str) -> None:
    """Close the kernel's earlier lab of this number; an error in that must not hinder this one."""
    earlier = _of_the_kernel.pop(number, None)
    if earlier is None:
        return
    try:
        earlier.close()
    except Exception as error:  # noqa: BLE001 - of any client: the servers may have gone as well
        what = (str(error) or type(error).__name__).splitlines()[0]
        print(f"The earlier run of {number} did not end cleanly: {what}", file=sys.stderr)
