"""OpenTelemetry spans from every process of a lab, as files of JSON lines, and back.

Each process appends to a file of its own, one unbuffered write for each finished span: SIGKILL
loses the spans that were still open, and no other.

Context crosses Kafka in a record's headers, since no instrumentation covers ``poll()``: the
producer opens ``sending(topic)``, the consumer ``handling(record)``.

The recorder is the lab's own. It reads no setting of the user's; where somebody else's tracing was
installed in the process before, that is taken out of the libraries, and learns nothing of the lab.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from wrapt import register_post_import_hook

from shoplab.paths import private_directory

NANOSECONDS = 1e9

PROPAGATOR = TraceContextTextMapPropagator()
"""How context crosses from process to process: the header ``traceparent``."""

KAFKA = {"messaging.system": "kafka"}
"""What the spans of every record say; the names are those of OpenTelemetry's conventions.

See opentelemetry.io/docs/specs/semconv/messaging/kafka/ (in development, read in August 2026).
"""


@dataclass(frozen=True)
class Span:
    """One finished operation of one process.

    Times are seconds since the epoch; identifiers are hexadecimal, as OpenTelemetry writes them.
    ``kind`` is ``INTERNAL``, ``CLIENT``, ``SERVER``, ``PRODUCER`` or ``CONSUMER``; ``links`` are
    pairs of a trace's and a span's identifier; ``error`` is None unless the operation failed.
    """

    name: str
    service: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str | None
    links: tuple[tuple[str, str], ...]
    start: float
    end: float
    attributes: Mapping[str, Any]
    error: str | None


class _SpanFile(SpanExporter):
    """Appends spans to the file of this process; where it points can be changed."""

    def __init__(self) -> None:
        self.directory: Path | None = None
        self._service = ""
        self._file: int | None = None

    def point_at(self, service: str, directory: Path) -> None:
        self.close()
        self._service = service
        self.directory = directory
        path = private_directory(directory) / f"{service}-{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = self.directory = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._file is not None:
            for span in spans:
                os.write(self._file, json.dumps(_record(span, self._service)).encode() + b"\n")
        return SpanExportResult.SUCCESS


_file = _SpanFile()
_provider: trace.TracerProvider = trace.NoOpTracerProvider()


def record_spans(service: str, directory: Path) -> None:
    """Record this process's spans, under the name ``service``, in ``directory`` from now on.

    Outgoing calls of ``requests`` are recorded as soon as somebody imports it. A second call
    points the same recorder elsewhere. ``environment.apply_here`` has to come first.
    """
    _file.point_at(service, directory)
    if isinstance(_provider, trace.NoOpTracerProvider):
        _install()


def _install() -> None:
    # Importing these fails where the user's settings name a propagator that is not installed.
    from opentelemetry import propagate
    from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
        BaseInstrumentor,  # its module tells type checkers to pass it over
    )

    global _provider
    for kind in BaseInstrumentor.__subclasses__():
        if kind().is_instrumented_by_opentelemetry:
            kind().uninstrument()
    # The sampler records all, except what a sender has decided not to record.
    provider = TracerProvider(sampler=DEFAULT_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_file))
    _provider = provider
    propagate.set_global_textmap(PROPAGATOR)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)
    register_post_import_hook(_trace_requests, "requests")


def stop_recording(directory: Path) -> None:
    """Write no more spans of this process, if they go to ``directory``."""
    if _file.directory == directory:
        _file.close()


def _trace_requests(requests: ModuleType) -> None:
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    RequestsInstrumentor().instrument(tracer_provider=_provider, excluded_urls="")


def trace_application(application: Any) -> Any:
    """The ASGI application, with a SERVER span for each request that it answers."""
    from fastapi import FastAPI
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    # One span for a request; the instrumentation's spans for each ASGI message tell nothing here.
    if not isinstance(application, FastAPI):
        return OpenTelemetryMiddleware(
            application, tracer_provider=_provider, exclude_spans=["receive", "send"]
        )
    FastAPIInstrumentor.instrument_app(
        application, tracer_provider=_provider, exclude_spans=["receive", "send"]
    )
    return application


def trace_headers() -> list[tuple[str, bytes]]:
    """Headers for a Kafka record that carry the span now open to whoever handles the record.

    >>> producer.send(orders, order, headers=trace_headers())  # doctest: +SKIP
    """
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier)
    return [(key, value.encode()) for key, value in carrier.items()]


@contextmanager
def sending(topic: str) -> Iterator[list[tuple[str, bytes]]]:
    """Open a PRODUCER span; gives the headers that the record must carry.

    >>> with sending(orders) as headers:  # doctest: +SKIP
    ...     producer.send(orders, order, headers=headers).get()
    """
    tracer = _provider.get_tracer(__name__)
    about = _operation("send", topic)
    with tracer.start_as_current_span(f"send {topic}", kind=SpanKind.PRODUCER, attributes=about):
        yield trace_headers()


@contextmanager
def handling(record: Any, *, link: bool = False) -> Iterator[trace.Span]:
    """Open a CONSUMER span for a Kafka record, in the trace that its headers carry.

    So it is a child of the span that sent the record, which the conventions permit where one record
    is handled at a time. With ``link=True``, their default, it begins a trace of its own, which
    only points at the sender's: the form for work that is not part of the sender's operation, and
    the only one for records taken in batches.

    >>> for record in consumer:  # doctest: +SKIP
    ...     with handling(record):
    ...         send_email(record.value)
    """
    carrier = {
        key: value.decode(errors="replace")
        for key, value in record.headers or ()
        if key in PROPAGATOR.fields and value is not None  # others may hold bytes of any kind
    }
    sender = PROPAGATOR.extract(carrier, context.Context())
    origin = trace.get_current_span(sender).get_span_context()
    place = {
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }
    with _provider.get_tracer(__name__).start_as_current_span(
        f"process {record.topic}",
        context=context.Context() if link else sender,
        kind=SpanKind.CONSUMER,
        links=[Link(origin)] if link and origin.is_valid else [],
        attributes=_operation("process", record.topic) | place,
    ) as span:
        yield span


def _operation(name: str, topic: str) -> dict[str, str]:
    """The attributes that the conventions ask of an operation on a topic."""
    return KAFKA | {
        "messaging.operation.name": name,
        "messaging.operation.type": name,
        "messaging.destination.name": topic,
    }


@dataclass(frozen=True)
class TraceShape:
    """How spans hang together, whatever their times.

    ``traces`` counts the traces; ``roots`` are the services of the spans whose parent is not among
    them, the earliest first; ``calls`` are pairs of services, the caller first.
    """

    traces: int
    roots: list[str]
    calls: list[tuple[str, str]]


def shape(spans: Iterable[Span]) -> TraceShape:
    """The shape of the traces that these spans make up."""
    ordered = sorted(spans, key=lambda span: span.start)
    services = {span.span_id: span.service for span in ordered}
    callers = [services.get(span.parent_id or "") for span in ordered]
    return TraceShape(
        traces=len({span.trace_id for span in ordered}),
        roots=[s.service for s, caller in zip(ordered, callers, strict=True) if caller is None],
        calls=[
            (caller, span.service)
            for span, caller in zip(ordered, callers, strict=True)
            if caller is not None and caller != span.service
        ],
    )


def read_spans(directory: Path) -> list[Span]:
    """All spans that the processes of a lab have finished, the earliest start first."""
    spans: list[Span] = []
    for path in sorted(directory.glob("*.jsonl")):
        # A process that is writing now may have got half a line out.
        complete, _, _ = path.read_text().rpartition("\n")
        spans.extend(_span(json.loads(line)) for line in complete.splitlines())
    return sorted(spans, key=lambda span: span.start)


def _record(span: ReadableSpan, service: str) -> dict[str, Any]:
    own = span.get_span_context()
    assert own is not None
    return {
        "name": span.name,
        "service": service,
        "kind": span.kind.name,
        "trace_id": f"{own.trace_id:032x}",
        "span_id": f"{own.span_id:016x}",
        "parent_id": None if span.parent is None else f"{span.parent.span_id:016x}",
        "links": [
            (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links
        ],
        "start": (span.start_time or 0) / NANOSECONDS,
        "end": (span.end_time or 0) / NANOSECONDS,
        "attributes": dict(span.attributes or {}),
        "error": _error(span),
    }


def _error(span: ReadableSpan) -> str | None:
    status: Status = span.status
    return (status.description or "error") if status.status_code is StatusCode.ERROR else None


def _span(record: dict[str, Any]) -> Span:
    links = tuple((trace_id, span_id) for trace_id, span_id in record.pop("links"))
    return Span(links=links, **record)
