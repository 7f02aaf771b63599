"""One line of JSON for each thing that happens, with names that can be searched."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from opentelemetry import trace

PERSONAL = {"card", "customer_id", "email", "address"}
"""Names whose values are nobody's business; the last four characters tell them apart."""


def set_up(level: int = logging.INFO) -> None:
    """Log to standard output, where a platform collects it."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            with_trace,
            masked,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def with_trace(
    _log: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add the trace that a line belongs to."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
    return event


def masked(_log: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Hide what is personal."""
    return {name: _masked(value) if name in PERSONAL else value for name, value in event.items()}


def _masked(value: object) -> str:
    return "…" + str(value)[-4:]
