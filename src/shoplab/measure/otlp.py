"""A collector for OpenTelemetry: it takes traces and metrics by OTLP over HTTP, and keeps them.

It speaks the protocol's binary form (protobuf, plain or gzipped) and nothing else, on 127.0.0.1,
in threads of this process. See opentelemetry.io/docs/specs/otlp/ (read in November 2026).
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from shoplab.measure.spans import NANOSECONDS, Span
from shoplab.ports import LOOPBACK


@dataclass(frozen=True)
class Point:
    """One value of a metric, as one process has exported it.

    ``at`` is in seconds since the epoch. A histogram's ``value`` is the sum of what was recorded,
    ``count`` how many that were, and ``largest`` the largest; else ``count`` is 1. With the
    temporality *delta* that is since ``since``, with *cumulative* since the process began.
    """

    name: str
    service: str
    since: float
    at: float
    value: float
    count: int
    largest: float
    attributes: Mapping[str, Any]


class Collector:
    """Receives what processes export, for as long as its block.

    >>> with Collector() as collector:  # doctest: +SKIP
    ...     subprocess.run([...], env=os.environ | collector.environment(every=0.5))
    ...     collector.spans(), collector.points("shop.orders")
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._points: list[Point] = []
        self._bytes = {"traces": 0, "metrics": 0}
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler(self))
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Be there for whoever exports."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the door. What was received stays."""
        self._server.shutdown()
        self._server.server_close()

    def environment(self, every: float = 0.5) -> dict[str, str]:
        """The variables with which a process exports to this collector, every so many seconds.

        A point of a counter or histogram is then of the time since the point before it (*delta*).
        """
        pace = str(int(1000 * every))
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
            "OTEL_BSP_SCHEDULE_DELAY": pace,
            "OTEL_METRIC_EXPORT_INTERVAL": pace,
        }

    def spans(self) -> list[Span]:
        """All that were received, the earliest start first."""
        with self._lock:
            return sorted(self._spans, key=lambda span: span.start)

    def points(self, name: str) -> list[Point]:
        """All of one metric that were received, the earliest first."""
        with self._lock:
            return sorted((p for p in self._points if p.name == name), key=lambda point: point.at)

    def received(self) -> dict[str, int]:
        """Bytes that have come, as they came, of ``traces`` and of ``metrics``."""
        with self._lock:
            return dict(self._bytes)

    def take(self, kind: str, body: bytes, size: int) -> bytes:
        """Keep what somebody has exported, and answer. Raises ``DecodeError``."""
        answer: bytes
        spans: list[Span] = []
        points: list[Point] = []
        if kind == "traces":
            spans = list(_spans(ExportTraceServiceRequest.FromString(body)))
            answer = ExportTraceServiceResponse().SerializeToString()
        else:
            points = list(_points(ExportMetricsServiceRequest.FromString(body)))
            answer = ExportMetricsServiceResponse().SerializeToString()
        with self._lock:
            self._spans += spans
            self._points += points
            self._bytes[kind] += size
        return answer


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            kind = self.path.removeprefix("/v1/")
            if kind not in ("traces", "metrics"):
                self._answer(404, b"")
                return
            try:
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                self._answer(200, collector.take(kind, body, size))
            except (DecodeError, OSError, EOFError):  # what gzip says of bytes that are none of it
                self._answer(400, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        service = str(_plain(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _span(span, service)


def _span(span: Sent, service: str) -> Span:
    failed = span.status.code == Status.STATUS_CODE_ERROR
    return Span(
        name=span.name,
        service=service,
        kind=Sent.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        start=span.start_time_unix_nano / NANOSECONDS,
        end=span.end_time_unix_nano / NANOSECONDS,
        attributes=_plain(span.attributes),
        error=(span.status.message or "error") if failed else None,
    )


def _points(request: ExportMetricsServiceRequest) -> Iterator[Point]:
    for resource in request.resource_metrics:
        service = str(_plain(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield from _of(metric, service)


def _of(metric: Metric, service: str) -> Iterator[Point]:
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points if kind else ():
        if kind == "histogram":
            value, count, largest = point.sum, point.count, point.max
        else:
            value = getattr(point, point.WhichOneof("value"))
            count, largest = 1, value
        yield Point(
            name=metric.name,
            service=service,
            since=point.start_time_unix_nano / NANOSECONDS,
            at=point.time_unix_nano / NANOSECONDS,
            value=value,
            count=count,
            largest=largest,
            attributes=_plain(point.attributes),
        )


def _plain(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
