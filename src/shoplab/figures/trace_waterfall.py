"""A trace as a waterfall, drawn from recorded spans at their true times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from shoplab.figures.marks import bar, colour_of, duration, extent, origins, plain_name
from shoplab.figures.style import OUTLINE, Chart, chart, styled

if TYPE_CHECKING:
    from shoplab.measure.spans import Span

HEIGHT = 0.34
"""A bar's height, where rows are 1 apart."""


@styled
def waterfall(spans: Sequence[Span]) -> Chart:
    """One bar per span from its start to its end, callers above those whom they called.

    Hatched bars are calls whose sender waits for the answer.
    """
    if not spans:
        raise ValueError("there are no spans to draw")
    rows = list(_tree(spans))
    zero, length, scale, unit = extent(spans)
    figure = chart(0.7 + 0.43 * len(rows))
    axes = figure.add_subplot()
    row_of = {span.span_id: row for row, (span, _) in enumerate(rows)}
    for row, (span, parent) in enumerate(rows):
        start = (span.start - zero) * scale
        width = max(span.end - span.start, 0.003 * length) * scale
        axes.barh(row, width, left=start, height=HEIGHT, **bar(span))
        late = span.start - zero > 0.5 * length
        error = f" ({span.error})" if span.error else ""
        axes.annotate(
            f"{plain_name(span.service)}: {plain_name(span.name)}, {duration(span)}{error}",
            (start + width if late else start, row - HEIGHT / 2),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right" if late else "left",
            fontsize=9,
            color=colour_of(span) if span.error else None,
            path_effects=OUTLINE,
        )
        if parent is not None:
            above = row_of[parent.span_id] + HEIGHT / 2
            axes.plot([start, start], [above, row], color="#bbbbbb", linewidth=1, zorder=0)
    axes.set_ylim(len(rows) - 0.6, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"time since the first span began ({unit})")
    return figure


def _tree(spans: Sequence[Span]) -> Iterator[tuple[Span, Span | None]]:
    """Every span after the one that it came from, in the order of their starts, with that one."""
    by_id = {span.span_id: span for span in spans}
    children: dict[str | None, list[Span]] = {}
    for span in sorted(spans, key=lambda span: span.start):
        known = (origin for origin in origins(span) if origin in by_id)
        children.setdefault(next(known, None), []).append(span)

    def below(parent: Span | None) -> Iterator[tuple[Span, Span | None]]:
        for span in children.get(parent.span_id if parent else None, []):
            yield span, parent
            yield from below(span)

    return below(None)
