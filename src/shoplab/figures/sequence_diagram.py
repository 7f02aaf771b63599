"""A sequence diagram drawn from recorded spans, at their true times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from shoplab.figures.marks import (
    bar,
    colour_of,
    colour_of_kind,
    duration,
    extent,
    origins,
    plain_name,
)
from shoplab.figures.style import OUTLINE, Chart, chart, styled

if TYPE_CHECKING:
    from shoplab.measure.spans import Span

BAR = 0.0225
"""Half the width of an activation bar, as a share of the diagram's width."""
WIDE = 4
"""Participants beyond which there is no room for a label of two words in one line."""
LABEL_GAP = 0.045
"""Least distance of two labels in one column, as a share of the diagram's height."""

Point = tuple[float, float]


@styled
def sequence(
    spans: Sequence[Span], participants: Mapping[str, str] | Sequence[str] | None = None
) -> Chart:
    """A sequence diagram: one lifeline per service, time downwards, messages between them.

    A full bar is a service at work; a hatched one a service that waits for an answer. Solid arrows
    are messages at the times at which they were sent and taken up, dashed ones are answers.
    ``participants`` are the services to draw, in order, and may give them other names to show;
    without it all are drawn, in the order in which they first appear.
    """
    spans = sorted(spans, key=lambda span: span.start)
    names = _names(spans, participants)
    spans = [span for span in spans if span.service in names]
    if not spans:
        raise ValueError("there are no spans of these services to draw")
    figure = chart(4.6)
    diagram = _Diagram(figure.add_subplot(), spans, list(names.values()), list(names))
    for span in spans:
        diagram.activation(span)
    for sender, handler in _messages(spans):
        diagram.message(sender, handler)
    return figure


def _names(
    spans: Sequence[Span], participants: Mapping[str, str] | Sequence[str] | None
) -> dict[str, str]:
    """The services to draw, in order, each with the name to show."""
    if isinstance(participants, Mapping):
        return dict(participants)
    order = participants if participants is not None else [span.service for span in spans]
    return {service: plain_name(service) for service in order}


def _messages(spans: Sequence[Span]) -> Iterator[tuple[Span, Span]]:
    """Pairs of spans of two services, the sender's and the handler's."""
    by_id = {span.span_id: span for span in spans}
    for handler in spans:
        for origin in origins(handler):
            if origin in by_id and by_id[origin].service != handler.service:
                yield by_id[origin], handler


class _Diagram:
    """Axes with one lifeline per service; times go in as seconds since the epoch."""

    def __init__(
        self, axes: Axes, spans: Sequence[Span], headings: Sequence[str], services: Sequence[str]
    ) -> None:
        self.axes = axes
        self.spans = spans
        self.column = {service: column for column, service in enumerate(services)}
        self.zero, self.length, self.scale, unit = extent(spans)
        self.wide = len(services) > WIDE
        self.half = BAR * len(services)
        self._label_heights: dict[int, list[float]] = {}
        height = self.length * self.scale
        for column in self.column.values():
            axes.plot([column, column], [0, height], color="#bbbbbb", linewidth=1, zorder=1)
        axes.set_xlim(-0.5, len(services) - 0.5)
        axes.set_ylim(1.03 * height, -(0.09 if self.wide else 0.035) * height)
        axes.set_ylabel(f"time ({unit})")
        axes.set_xticks(range(len(services)), [name.replace(" ", "\n") for name in headings])
        axes.tick_params(
            axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0
        )
        for label in axes.get_xticklabels():
            label.set_fontweight("bold")
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)

    def activation(self, span: Span) -> None:
        """A bar on the service's lifeline, with the time where the service waits."""
        waits = span.kind == "CLIENT"
        height = max(span.end - span.start, 0.004 * self.length)
        self.axes.add_patch(
            Rectangle(
                (self.column[span.service] - self.half, self._at(span.start)),
                2 * self.half,
                height * self.scale,
                linewidth=1,
                zorder=3 if waits else 2,
                **bar(span),
            )
        )
        if waits:
            self._waiting_time(span)

    def message(self, sender: Span, handler: Span) -> None:
        """An arrow from sender to handler; back again, dashed, where the sender waits."""
        here, there = self.column[sender.service], self.column[handler.service]
        side = 1 if there > here else -1
        left, entered = here + side * self.half, there - side * self.half
        arrived = (entered, self._at(handler.start))
        self._arrow((left, self._at(sender.start)), arrived, colour_of_kind(handler), "-")
        if sender.kind == "CLIENT":
            answered = (entered, self._at(handler.end))
            self._arrow(answered, (left, self._at(sender.end)), colour_of(handler), (0, (4, 2)))
        self._label(handler, there - side * 0.5, over=sender.kind == "CLIENT")

    def _at(self, time: float) -> float:
        return (time - self.zero) * self.scale

    def _waiting_time(self, span: Span) -> None:
        """Beside the bar; where that is short, under it, unless the service goes on there."""
        beside = span.end - span.start > 0.08 * self.length
        under = span.end + 0.1 * self.length
        if not beside and any(s.service == span.service and s.end > under for s in self.spans):
            return
        column = self.column[span.service]
        middle = (column + self.half, self._at((span.start + span.end) / 2))
        between = "\n" if self.wide and beside else " "
        self.axes.annotate(
            f"waits{between}{duration(span)}",
            middle if beside else (column, self._at(span.end)),
            xytext=(4, 0) if beside else (0, -6),
            textcoords="offset points",
            ha="left" if beside else "center",
            va="center" if beside else "top",
            fontsize=9,
            color=colour_of(span),
            path_effects=OUTLINE,
            zorder=5,
        )

    def _label(self, handler: Span, middle: float, *, over: bool) -> None:
        """Name the message in the last gap that its arrow crosses, by the handler.

        Arrows to several handlers share their beginning, not their end. The label stands over the
        arrow of a call, which is all but level, and under that of an event, which falls. Of two
        that would meet, the later moves down.
        """
        gap = LABEL_GAP * self.length * self.scale
        height = self._at(handler.start)
        taken = self._label_heights.setdefault(int(middle), [])
        while any(abs(height - other) < gap for other in taken):
            height += gap / 2
        taken.append(height)
        text = plain_name(handler.name)
        self.axes.annotate(
            text.replace(" ", "\n") if self.wide else text,
            (middle, height),
            xytext=(0, 3 if over else -4),
            textcoords="offset points",
            ha="center",
            va="bottom" if over else "top",
            fontsize=9,
            linespacing=0.95,
            color=colour_of_kind(handler),
            path_effects=OUTLINE,
            zorder=6,
        )

    def _arrow(
        self, start: Point, end: Point, colour: str, line: str | tuple[int, tuple[int, int]]
    ) -> None:
        arrow = {
            "arrowstyle": "-|>",
            "color": colour,
            "linestyle": line,
            "linewidth": 1.5,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 11,
        }
        self.axes.annotate("", end, start, arrowprops=arrow, zorder=4)
