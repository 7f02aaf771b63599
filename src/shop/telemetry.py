"""What the shop tells of itself: traces, metrics, and the names in every line of the log.

It goes nowhere, and next to nothing is done for it, unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` names a
collector: see ``exported``. Others of OpenTelemetry's variables say how often, and how.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry import metrics, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from shop.messages import Envelope, Record

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bounds of the histograms' buckets."""

PATIENCE = 2.0
"""Seconds for the collector to take what it is sent."""

_tracer, _meter = trace.get_tracer("shop"), metrics.get_meter("shop")
_propagator = TraceContextTextMapPropagator()
_calls = _meter.create_histogram(
    "shop.dependency.duration", "s", explicit_bucket_boundaries_advisory=SECONDS
)
_ages = _meter.create_histogram(
    "shop.message.age", "s", explicit_bucket_boundaries_advisory=SECONDS
)
_messages = _meter.create_counter("shop.messages")


@contextmanager
def exported(part: str) -> Iterator[None]:
    """Export what this part tells, and the rest of it at the end, if anybody wants it."""
    if not wanted():
        yield
        return
    # Imported here: a part that tells nothing pays for nothing.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.namespace": "shop", "service.name": part})
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=PATIENCE)))
    trace.set_tracer_provider(traces)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(timeout=PATIENCE))
    numbers = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    metrics.set_meter_provider(numbers)
    _follow_the_database()
    try:
        yield
    finally:
        traces.shutdown()
        numbers.shutdown()


def wanted() -> bool:
    """Whether a collector is named."""
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


# Traces


def traceparent() -> str:
    """Where we are in the current trace, for whoever goes on with it; empty outside of one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")


@contextmanager
def handling(envelope: Envelope, group: str) -> Iterator[None]:
    """A span, and names in the log, for the time that a message is handled."""
    about = {"order_id": envelope.message.order_id, "message": envelope.message.kind()}
    parent = _propagator.extract({"traceparent": envelope.trace} if envelope.trace else {})
    if envelope.time is not None:
        _ages.record((datetime.now(UTC) - envelope.time).total_seconds(), {"group": group})
    with (
        structlog.contextvars.bound_contextvars(**about, group=group),
        _tracer.start_as_current_span(
            f"handles {type(envelope.message).__name__}",
            context=parent,
            kind=trace.SpanKind.CONSUMER,
            attributes=about,
        ),
    ):
        yield


def about(order_id: str) -> None:
    """The request that we answer is about this order."""
    trace.get_current_span().set_attribute("order_id", order_id)


def sent(record: Record, written: datetime) -> None:
    """A span for a record that has gone to the broker, from the moment it was written down."""
    parent = _propagator.extract({"traceparent": record.headers.get("ce_traceparent", "")})
    if trace.get_current_span(parent).get_span_context().is_valid:
        _tracer.start_span(
            f"sends {record.topic}",
            context=parent,
            kind=trace.SpanKind.PRODUCER,
            attributes={"order_id": record.key, "message": record.headers.get("ce_type", "")},
            start_time=int(1e9 * written.timestamp()),
        ).end()


# What we depend on


class Call:
    """A call to something that is not ours, from now until its ``end``.

    It is a span where it is made for a request or a message, and else only counted.
    """

    def __init__(self, whom: str, what: str) -> None:
        self._began, self._about = perf_counter(), {"service.peer.name": whom, "operation": what}
        self._span: trace.Span = trace.INVALID_SPAN
        if trace.get_current_span().get_span_context().is_valid:
            kind = trace.SpanKind.CLIENT
            self._span = _tracer.start_span(f"{whom} {what}", kind=kind, attributes=self._about)

    def end(self, error: BaseException | None = None) -> None:
        """It is over, well or with an ``error``."""
        if error is not None:
            self._about["error.type"] = type(error).__name__
            self._span.set_attributes(self._about)
            self._span.set_status(trace.StatusCode.ERROR, self._about["error.type"])
        self._span.end()
        _calls.record(perf_counter() - self._began, self._about)


@contextmanager
def calling(whom: str, what: str) -> Iterator[None]:
    """A ``Call`` for as long as the block."""
    call = Call(whom, what)
    try:
        yield
    except BaseException as error:
        call.end(error)
        raise
    call.end()


def _follow_the_database() -> None:
    """A call for each statement of every engine."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine, ExceptionContext, ExecutionContext

    def begins(*said: Any) -> None:
        statement, context = said[2], said[4]
        context._call = Call("postgresql", _summary(statement))

    def ended(*said: Any) -> None:
        _end(said[4])

    def failed(failure: ExceptionContext) -> None:
        _end(failure.execution_context, failure.original_exception)

    def _end(context: ExecutionContext | None, error: BaseException | None = None) -> None:
        if (call := getattr(context, "_call", None)) is not None:
            call.end(error)
            context._call = None  # type: ignore[union-attr]

    event.listen(Engine, "before_cursor_execute", begins)
    event.listen(Engine, "after_cursor_execute", ended)
    event.listen(Engine, "handle_error", failed)


def _summary(statement: str) -> str:
    """What a statement does, without its values: ``INSERT orders``."""
    table = re.search(r"\b(?:FROM|INTO|UPDATE)\s+(\w+)", statement)
    return " ".join([*statement.split(maxsplit=1)[:1], *(table.groups() if table else ())])


# How it goes


def told(kinds: Iterable[str]) -> None:
    """Messages of these kinds are on their way: the orders by their outcome among them."""
    for kind in kinds:
        _messages.add(1, {"message": kind})


def waiting(oldest: Callable[[], Mapping[str, float | None]]) -> None:
    """Export how long the oldest of what waits has waited, in each place: 0 where nothing does.

    ``oldest`` says since when, in seconds since the epoch.
    """

    def ages(_options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        now = datetime.now(UTC).timestamp()
        for place, since in oldest().items():
            yield metrics.Observation(max(0.0, now - since) if since else 0.0, {"place": place})

    _meter.create_observable_gauge("shop.oldest.age", [ages], "s")
