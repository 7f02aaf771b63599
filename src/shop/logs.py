"""One line of JSON for each thing that happens, with names that can be searched."""

from __future__ import annotations

import hmac
import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor

PERSONAL = {"card", "customer_id", "email", "address"}
"""Names whose values are nobody's business: a line has their pseudonyms."""

log = structlog.get_logger()
_said: ContextVar[MutableMapping[str, Any] | None] = ContextVar("said", default=None)


def set_up(key: str = "", level: int = logging.INFO) -> None:
    """Log to standard output, where a platform collects it; ``key`` is that of the pseudonyms.

    What libraries log by ``logging``, warnings and worse, comes in the same form.
    """
    bound = structlog.contextvars.merge_contextvars
    between: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        with_trace,
        pseudonyms(key),
        structlog.processors.format_exc_info,  # text without the values of variables
    ]
    rendered = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[bound, *between, rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    from_libraries = logging.StreamHandler(sys.stdout)
    from_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[bound, structlog.stdlib.add_logger_name, *between],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, rendered],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[from_libraries], force=True)


@contextmanager
def line(event: str, **names: Any) -> Iterator[MutableMapping[str, Any]]:
    """One line for all that the block does, at its end: these names, what was added, and how long.

    Whoever is called from the block adds to it by ``say``.
    """
    said, began = dict(names), perf_counter()
    token = _said.set(said)
    try:
        yield said
    except BaseException as error:
        said |= {"outcome": "failed", "error": type(error).__name__}
        raise
    finally:
        _said.reset(token)
        log.info(event, **said, milliseconds=round(1000 * (perf_counter() - began), 1))


def say(**names: Any) -> None:
    """Add these names to the line of the block that we are in; outside of one, nothing."""
    if (said := _said.get()) is not None:
        said.update(names)


def with_trace(_log: object, _method: str, event: EventDict) -> EventDict:
    """Add the trace that a line belongs to."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
    return event


def pseudonyms(key: str) -> Processor:
    """Put pseudonyms in the place of what is personal."""

    def put(_log: object, _method: str, event: EventDict) -> EventDict:
        for name in PERSONAL & event.keys():
            event[name] = pseudonym(event[name], key)
        return event

    return put


def pseudonym(value: object, key: str) -> str:
    """The same for the same value, so that it can be searched; back leads no way without the key.

    Without a key it is the same for everybody.
    """
    if not key:
        return "…"
    return hmac.digest(key.encode(), str(value).encode(), "sha256").hex()[:16]
