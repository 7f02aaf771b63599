"""The collector: what OpenTelemetry's own exporters send is kept, and nothing else is taken."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from shoplab.measure.otlp import Collector

NAMED = Resource.create({"service.name": "api"})


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_spans_come_with_their_family_their_times_and_their_errors(
    collector: Collector, compression: Compression
) -> None:
    provider = TracerProvider(resource=NAMED, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{collector.url}/v1/traces", compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("POST /orders", kind=SpanKind.SERVER) as parent:
        child = tracer.start_span("captures", attributes={"n": 3, "skus": ["lamp", "rug"]})
        child.set_status(StatusCode.ERROR, "ReadTimeout")
        child.end()
    provider.shutdown()
    first, second = collector.spans()
    assert (first.name, first.service, first.kind) == ("POST /orders", "api", "SERVER")
    assert first.trace_id == f"{parent.get_span_context().trace_id:032x}" == second.trace_id
    assert (first.parent_id, second.parent_id) == (None, first.span_id)
    assert (first.error, second.error) == (None, "ReadTimeout")
    assert second.attributes == {"n": 3, "skus": ["lamp", "rug"]}
    assert first.start <= second.start <= second.end <= first.end
    assert collector.received()["traces"] > 0 == collector.received()["metrics"]


def test_a_counter_a_gauge_and_a_histogram_are_points(collector: Collector) -> None:
    exporter = OTLPMetricExporter(
        f"{collector.url}/v1/metrics",
        preferred_temporality={Histogram: AggregationTemporality.DELTA},
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider([reader], resource=NAMED, shutdown_on_exit=False)
    meter = provider.get_meter("test")
    meter.create_counter("orders").add(2, {"outcome": "shipped"})
    meter.create_gauge("age").set(1.5)
    took = meter.create_histogram("took", "s")
    for seconds in (0.25, 0.5):
        took.record(seconds)
    provider.force_flush()
    took.record(4.0)
    provider.shutdown()
    orders = collector.points("orders")
    assert {(p.service, p.value, p.attributes["outcome"]) for p in orders} == {
        ("api", 2, "shipped")
    }
    assert {point.value for point in collector.points("age")} == {1.5}
    found = [(p.value, p.count, p.largest) for p in collector.points("took")]
    assert found == [(0.75, 2, 0.5), (4.0, 1, 4.0)]
    first, second = collector.points("took")
    assert first.since < first.at <= second.since < second.at


def test_what_is_not_of_the_protocol_is_refused_and_the_next_is_taken(collector: Collector) -> None:
    def answered(path: str, body: bytes, **headers: str) -> int:
        return requests.post(collector.url + path, body, headers=headers, timeout=5).status_code

    packed = {"Content-Encoding": "gzip"}
    assert answered("/v1/traces", b"\xff" * 9) == 400
    assert answered("/v1/traces", b"no gzip", **packed) == 400
    assert answered("/v1/traces", gzip.compress(b"long enough to be cut off")[:-9], **packed) == 400
    assert answered("/v1/logs", b"") == 404
    assert answered("/v1/traces", gzip.compress(b""), **packed) == 200
    assert collector.spans() == []


def test_programs_are_told_of_it_by_the_standard_variables(collector: Collector) -> None:
    told = collector.environment(every=0.5)
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == collector.url
    assert told["OTEL_BSP_SCHEDULE_DELAY"] == told["OTEL_METRIC_EXPORT_INTERVAL"] == "500"
