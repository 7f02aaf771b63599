"""Spans on their way into a file and back, and context in the headers of Kafka records."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from opentelemetry import trace

from shoplab.measure.spans import (
    Span,
    TraceShape,
    handling,
    read_spans,
    record_spans,
    sending,
    shape,
    stop_recording,
    trace_headers,
)


@dataclass
class Record:
    topic: str
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
    partition: int = 0
    offset: int = 0


@pytest.fixture
def directory(tmp_path):
    record_spans("shop", tmp_path)
    yield tmp_path
    stop_recording(tmp_path)


def test_a_handled_record_is_a_child_of_its_sending(directory):
    with sending("orders") as headers:
        pass
    with handling(Record("orders", headers)) as span:
        span.set_attribute("order", 7)

    sent, handled = read_spans(directory)
    assert (sent.name, sent.kind, sent.service) == ("send orders", "PRODUCER", "shop")
    assert (handled.name, handled.kind) == ("process orders", "CONSUMER")
    assert (handled.trace_id, handled.parent_id) == (sent.trace_id, sent.span_id)
    assert handled.attributes["order"] == 7
    assert sent.start <= sent.end <= handled.start <= handled.end


def test_a_linked_record_begins_a_trace_of_its_own_that_points_at_the_sending(directory):
    with sending("orders") as headers:
        pass
    with handling(Record("orders", headers), link=True):
        pass

    sent, handled = read_spans(directory)
    assert handled.trace_id != sent.trace_id
    assert handled.parent_id is None
    assert handled.links == ((sent.trace_id, sent.span_id),)


def test_a_record_without_headers_begins_a_trace_even_inside_another_span(directory):
    with sending("other"), handling(Record("orders")):
        pass
    handled, sent = sorted(read_spans(directory), key=lambda span: span.kind)
    assert handled.kind == "CONSUMER" and handled.parent_id is None
    assert handled.trace_id != sent.trace_id


def test_spans_say_which_record_it_was_in_the_words_of_the_conventions(directory):
    with sending("orders") as headers:
        pass
    with handling(Record("orders", headers, partition=2, offset=17)):
        pass

    sent, handled = read_spans(directory)
    both = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
    assert sent.attributes == both | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    assert handled.attributes == both | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.partition.id": "2",
        "messaging.kafka.offset": 17,
    }


def test_headers_of_any_bytes_do_not_hinder_the_handler(directory):
    with sending("orders") as headers:
        pass
    odd = [("image", b"\xff\xfe"), ("nothing", None), ("tracestate", b"\xff")]
    with handling(Record("orders", [*odd, *headers])):
        pass

    sent, handled = read_spans(directory)
    assert handled.parent_id == sent.span_id


def test_what_a_sender_has_decided_not_to_record_is_not_recorded_by_the_handler(directory):
    unsampled = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]
    with handling(Record("orders", unsampled)):
        pass
    assert read_spans(directory) == []


def test_headers_are_empty_where_no_span_is_open(directory):
    assert trace_headers() == []


def test_an_exception_while_handling_is_the_error_of_the_span(directory):
    with pytest.raises(ValueError, match="no such item"), handling(Record("orders")):
        raise ValueError("no such item")
    (span,) = read_spans(directory)
    assert span.error == "ValueError: no such item"


def test_half_a_line_is_left_for_the_next_reading(directory):
    with trace.get_tracer("test").start_as_current_span("whole"):
        pass
    (file,) = directory.iterdir()
    with file.open("a") as stream:
        stream.write('{"name": "ha')
    assert [span.name for span in read_spans(directory)] == ["whole"]


def test_spans_go_where_the_last_recording_points(directory, tmp_path):
    later = tmp_path / "later"
    record_spans("shop", later)
    with trace.get_tracer("test").start_as_current_span("here"):
        pass
    assert read_spans(directory) == []
    stop_recording(directory)
    assert [span.name for span in read_spans(later)] == ["here"]
    stop_recording(later)


def span(service, span_id, parent=None, trace="t", start=0.0):
    return Span("", service, "SERVER", trace, span_id, parent, (), start, start, {}, None)


def test_the_shape_of_a_trace_says_where_it_begins_and_who_called_whom():
    spans = [
        span("tax", "4", "3", start=3),
        span("shop", "1", "customer", start=0),
        span("shop", "2", "1", start=1),
        span("pricing", "3", "2", start=2),
        span("mail", "9", trace="another", start=4),
    ]
    assert shape(spans) == TraceShape(
        traces=2,
        roots=["shop", "mail"],
        calls=[("shop", "pricing"), ("pricing", "tax")],
    )
    assert shape([]) == TraceShape(0, [], [])
