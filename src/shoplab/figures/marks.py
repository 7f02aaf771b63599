"""How a span is marked in every figure: its colour, its hatching, its names, its duration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shoplab.figures.style import EVENT, FAILURE, NEUTRAL, REQUEST
from shoplab.units import short_time

if TYPE_CHECKING:  # it brings OpenTelemetry, which a lab configures before anything imports it
    from shoplab.measure.spans import Span

KIND_COLOURS = {"CLIENT": REQUEST, "SERVER": REQUEST, "PRODUCER": EVENT, "CONSUMER": EVENT}


def colour_of_kind(span: Span) -> str:
    """The colour of the style that the span belongs to, whether it failed or not."""
    return KIND_COLOURS.get(span.kind, NEUTRAL)


def bar(span: Span) -> dict[str, Any]:
    """How to fill the span's bar: full for work, hatched for a sender who waits for an answer."""
    colour = colour_of(span)
    if span.kind == "CLIENT":
        return {"facecolor": "white", "edgecolor": colour, "hatch": "////"}
    return {"facecolor": colour, "edgecolor": colour, "hatch": None}


def colour_of(span: Span) -> str:
    """The colour of failure for a span that failed, else that of its kind."""
    return FAILURE if span.error is not None else colour_of_kind(span)


def plain_name(name: str) -> str:
    """A name without the run's own suffix, such as '-7f3a9c', and without underscores."""
    return re.sub(r"-[0-9a-f]{6}\b", "", name).replace("_", " ")


def duration(span: Span) -> str:
    """How long the span lasted: '521 ms', '1.32 s'."""
    return short_time(span.end - span.start)


def origins(span: Span) -> list[str]:
    """The identifiers of the spans that this one came from: its parent, then its links."""
    parent = [span.parent_id] if span.parent_id is not None else []
    return parent + [span_id for _, span_id in span.links]


def extent(spans: Sequence[Span]) -> tuple[float, float, float, str]:
    """When the first span began, the seconds to the last end, and the axis' scale and unit."""
    zero = min(span.start for span in spans)
    length = (max(span.end for span in spans) - zero) or 1e-6
    return (zero, length, 1e3, "ms") if length < 2 else (zero, length, 1.0, "s")
