"""The course's figures, all in one look; each function returns one that a notebook shows once."""

from shoplab.figures.charts import lag, latency, lines, outcomes
from shoplab.figures.sequence_diagram import sequence
from shoplab.figures.style import (
    EVENT,
    FAILURE,
    NEUTRAL,
    PREDICTION,
    REQUEST,
    Chart,
    chart,
    styled,
)
from shoplab.figures.trace_waterfall import waterfall

__all__ = [
    "EVENT",
    "FAILURE",
    "NEUTRAL",
    "PREDICTION",
    "REQUEST",
    "Chart",
    "chart",
    "lag",
    "latency",
    "lines",
    "outcomes",
    "sequence",
    "styled",
    "waterfall",
]
