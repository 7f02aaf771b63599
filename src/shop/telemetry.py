"""Traces, and the names that go into every line of the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shop.messages import Envelope

_tracer = trace.get_tracer("shop")
_propagator = TraceContextTextMapPropagator()


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
    with (
        structlog.contextvars.bound_contextvars(**about, group=group),
        _tracer.start_as_current_span(
            f"{group} handles {type(envelope.message).__name__}",
            context=parent,
            kind=trace.SpanKind.CONSUMER,
            attributes=about,
        ),
    ):
        yield
