"""Figures of counts and times: latencies, outcomes of a load, lag over time, plain curves."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.offsetbox import AnnotationBbox, HPacker, TextArea
from matplotlib.ticker import FuncFormatter, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from shoplab.figures.style import (
    EVENT,
    FAILURE,
    NEUTRAL,
    OUTLINE,
    PREDICTION,
    REQUEST,
    Chart,
    chart,
    styled,
)
from shoplab.measure.load import LoadResult
from shoplab.units import short_time

if TYPE_CHECKING:  # it brings the Kafka client, which a figure does not need
    from shoplab.measure.lag import LagOverTime

LINE = 0.24
"""Inches for a line of text above a bar."""
BAR = 0.34
"""Inches for the height of a bar."""
PER_LINE = 3
"""Outcomes named in one line; more would not fit."""

FEW = 20
"""Values up to which a curve shows a mark for each."""

Curve = tuple[ArrayLike, ArrayLike]
"""The x and the y values of a curve."""


@styled
def latency(
    results: Mapping[str, LoadResult | ArrayLike],
    *,
    colours: Mapping[str, str] | None = None,
    unit: str = "requests",
) -> Chart:
    """The share of requests that were answered within a time: one curve per labelled result.

    A result is a ``LoadResult`` or an array of times in seconds. The share is of the requests
    offered, so a curve that ends below 100 % shows how many never got an answer. Colours default
    to request, event, neutral, in this order. ``unit`` is what was offered.
    """
    colours = colours or _colours(results)
    figure = chart(3.3)
    axes = figure.add_subplot()
    curves = {label: _curve(result) for label, result in results.items()}
    for label, (times, share) in curves.items():
        style = "--" if colours[label] == PREDICTION else "-"
        axes.step(times, share, where="post", color=colours[label], linestyle=style)
    axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.set_ylim(0, 1.03)
    by_speed = sorted(curves, key=lambda label: float(np.median(curves[label][0])))
    for place, label in enumerate(by_speed):
        # The quicker of two curves is named near its top, the slower one lower down; to the right
        # of the curve, or to its left where the next curve is near.
        times, share = curves[label]
        height = share[-1] * (1 - (place + 0.5) / len(curves))
        at = _time_of(curves[label], height)
        following = by_speed[place + 1 :]
        room = _time_of(curves[following[0]], height) / at if following else np.inf
        right = np.log(room) > 0.35 * np.log(np.divide(*axes.get_xlim()[::-1]))
        axes.annotate(
            label,
            (at, height),
            xytext=(7 if right else -7, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            color=colours[label],
            weight="bold",
            path_effects=OUTLINE,
        )
    axes.set_xlabel("time to answer")
    axes.set_ylabel(f"share of {unit}")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: short_time(seconds)))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


@styled
def outcomes(
    results: Mapping[str, LoadResult | Mapping[str, int]],
    *,
    colours: Mapping[str, str] | None = None,
    unit: str = "requests",
) -> Chart:
    """What became of each load: one bar per labelled result, as long as what was offered.

    A result is a ``LoadResult`` or counts by outcome, the good one first. What is good has the
    label's colour (request, then event, unless told); every other outcome a shade of failure.
    ``unit`` is what is counted.
    """
    colours = colours or _colours(results)
    rows = {
        label: result.outcomes if isinstance(result, LoadResult) else dict(result)
        for label, result in results.items()
    }
    lines = {label: 1 + (len(counts) - 1) // PER_LINE for label, counts in rows.items()}
    height = sum(LINE * lines[label] + BAR + 0.15 for label in rows)
    figure = chart(height + 0.6)
    axes = figure.add_subplot()
    top = 0.0  # in inches, downwards
    for label, counts in rows.items():
        shades = [colours[label], *_shades(FAILURE, len(counts) - 1)]
        entries = [
            (f"{count:,} {outcome}", shade)
            for (outcome, count), shade in zip(counts.items(), shades, strict=True)
        ]
        for line in range(lines[label]):
            _legend(
                axes,
                top + LINE * (line + 1),
                label if line == 0 else "",
                entries[PER_LINE * line : PER_LINE * (line + 1)],
            )
        top += LINE * lines[label] + BAR / 2 + 0.03
        left = 0
        for count, shade in zip(counts.values(), shades, strict=True):
            axes.barh(top, count, left=left, height=BAR, color=shade, edgecolor="white")
            left += count
        top += BAR / 2 + 0.12
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(False, axis="y")
    axes.set_xlabel(unit)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    return figure


@styled
def lag(recording: LagOverTime, prediction: LagOverTime | None = None) -> Chart:
    """Consumer lag over time, with the predicted one beside it where there is one."""
    figure = chart(3.3)
    axes = figure.add_subplot()
    drained = recording.drained_at
    end = "not drained" if drained is None else f"drained at {drained:.1f} s"
    axes.fill_between(recording.times, recording.lag, color=EVENT, alpha=0.12, linewidth=0)
    axes.plot(recording.times, recording.lag, color=EVENT, label=f"measured: {end}")
    if prediction is not None:
        axes.plot(
            prediction.times,
            prediction.lag,
            color=PREDICTION,
            linestyle=(0, (4, 3)),
            linewidth=1.8,
            label=f"predicted: drained at {prediction.drained_at:.1f} s",
        )
    axes.set_xlabel("time (s)")
    axes.set_ylabel("lag (records waiting)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    if prediction is not None:  # a single line needs no name, and a plateau would run into it
        # a drained lag leaves the upper right free, a growing one the upper left
        axes.legend(loc="upper left" if drained is None else "upper right", labelcolor="linecolor")
    return figure


@styled
def lines(
    curves: Mapping[str, Curve],
    *,
    x: str,
    y: str,
    predictions: Mapping[str, Curve] | None = None,
    colours: Mapping[str, str] | None = None,
    during: Mapping[str, tuple[float, float]] | None = None,
) -> Chart:
    """Measured curves as lines with a point for each value, predicted ones dashed in grey.

    ``x`` and ``y`` say what the axes show and in which unit. Colours default to request, event,
    neutral, in this order. ``during`` names shaded stretches of the x axis, such as a fault.
    """
    colours = dict(zip(curves, (REQUEST, EVENT, NEUTRAL, FAILURE), strict=False)) | dict(
        colours or {}
    )
    figure = chart(3.4)
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    for label, (begin, end) in (during or {}).items():
        axes.axvspan(begin, end, color=FAILURE, alpha=0.12, linewidth=0)
        axes.annotate(
            label,
            ((begin + end) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            color=FAILURE,
            path_effects=OUTLINE,
        )
    for (label, (across, up)), mark in zip(curves.items(), itertools.cycle("os^Dv"), strict=False):
        mark = mark if len(np.asarray(across)) <= FEW else ""
        axes.plot(across, up, color=colours[label], label=label, marker=mark)
    for label, (across, up) in (predictions or {}).items():
        axes.plot(across, up, "--", color=PREDICTION, linewidth=1.6, label=label, zorder=3)
    axes.set_ylim(bottom=0)
    plain = FuncFormatter(lambda value, _: f"{value:,.12g}")
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(plain)
    figure.legend(loc="outside upper left", ncols=2, labelcolor="linecolor", columnspacing=1.2)
    return figure


def _curve(result: LoadResult | ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sorted times, and the share of what was offered that was answered within each."""
    if isinstance(result, LoadResult):
        times, offered = np.sort(result.latency[result.was_answered]), result.offered
    else:
        times = np.sort(np.asarray(result, dtype=np.float64))
        offered = len(times)
    if not len(times):
        raise ValueError("there is no latency to draw: nothing was answered")
    return times, np.arange(1, len(times) + 1) / offered


def _time_of(curve: tuple[NDArray[np.float64], NDArray[np.float64]], share: float) -> float:
    """When a curve reaches a share, or its end where it stays below."""
    times, shares = curve
    return float(times[min(int(np.searchsorted(shares, share)), len(times) - 1)])


def _legend(axes: Axes, bottom: float, label: str, entries: Sequence[tuple[str, Any]]) -> None:
    """A line of text over a bar: its label, then each outcome after a square of its colour."""
    words: list[Artist] = [TextArea(label, textprops={"weight": "bold"})] if label else []
    for text, shade in entries:
        words += [TextArea("■", textprops={"color": shade}), TextArea(text)]
    line = AnnotationBbox(
        HPacker(children=words, align="baseline", pad=0, sep=4),
        (0, bottom),
        xycoords=("axes fraction", "data"),
        box_alignment=(0, 0),
        pad=0,
        frameon=False,
    )
    line.set_in_layout(False)
    axes.add_artist(line)


def _colours(labels: Iterable[str]) -> dict[str, str]:
    return dict(zip(labels, (REQUEST, EVENT, NEUTRAL, PREDICTION), strict=False))


def _shades(colour: str, count: int) -> list[tuple[float, float, float]]:
    """``count`` shades from the colour itself towards white."""
    red, green, blue = to_rgb(colour)
    mixes = [0.6 * index / max(1, count) for index in range(count)]
    return [
        (red + (1 - red) * mix, green + (1 - green) * mix, blue + (1 - blue) * mix) for mix in mixes
    ]
