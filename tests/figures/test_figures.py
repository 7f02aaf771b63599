"""Figures say what was measured: whom an arrow joins, when, in which colour, how much."""

import io
from itertools import count
from typing import Any

import matplotlib
import nbformat
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from nbclient import NotebookClient

from shoplab import figures
from shoplab.figures import EVENT, FAILURE, REQUEST, Chart
from shoplab.measure.lag import LagRecording, predict_lag
from shoplab.measure.load import LoadResult
from shoplab.measure.spans import Span
from shoplab.units import short_time

_ids = count()


def span(
    service: str,
    kind: str,
    start: float,
    end: float,
    *,
    parent: Span | None = None,
    link: Span | None = None,
    error: str | None = None,
    name: str = "work",
) -> Span:
    return Span(
        name=name,
        service=service,
        kind=kind,
        trace_id="t",
        span_id=str(next(_ids)),
        parent_id=parent.span_id if parent else None,
        links=(("t", link.span_id),) if link else (),
        start=start,
        end=end,
        attributes={},
        error=error,
    )


def load(outcomes: list[str], latency: list[float]) -> LoadResult:
    nothing = np.zeros(len(outcomes))
    return LoadResult(100, 0.0, nothing, np.array(latency), nothing, np.array(outcomes), nothing)


def axes_of(figure: Chart) -> Axes:
    (axes,) = figure.axes
    return axes


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_text()]


def arrows(axes: Axes) -> list[tuple[tuple[float, float], tuple[float, float], Any]]:
    """Beginning, end and colour of every arrow."""
    return [
        (text.xyann, text.xy, text.arrow_patch.get_edgecolor())
        for text in axes.texts
        if isinstance(text, Annotation) and text.arrow_patch is not None
    ]


@pytest.fixture
def by_request() -> list[Span]:
    call = span("customer", "CLIENT", 100.0, 100.5)
    return [call, span("order_service", "SERVER", 100.1, 100.4, parent=call, name="POST /orders")]


@pytest.fixture
def by_event() -> list[Span]:
    sent = span("order_service", "PRODUCER", 100.0, 100.1)
    return [sent, span("email", "CONSUMER", 100.3, 100.9, parent=sent, name="process mail-7f3a9c")]


def test_a_call_is_an_arrow_there_and_one_back_at_their_true_times(by_request: list[Span]) -> None:
    axes = axes_of(figures.sequence(by_request))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["customer", "order\nservice"]
    (there, back) = arrows(axes)
    assert (there[0], there[1]) == (pytest.approx((0.045, 0)), pytest.approx((0.955, 100)))
    assert (back[0], back[1]) == (pytest.approx((0.955, 400)), pytest.approx((0.045, 500)))
    assert there[2] == to_rgba(REQUEST)
    assert axes.yaxis_inverted()
    assert axes.get_ylabel() == "time (ms)"
    assert set(texts(axes)) == {"waits 500 ms", "POST /orders"}


def test_a_sender_who_waits_is_hatched_and_one_who_works_is_not(by_request: list[Span]) -> None:
    bars = [
        bar for bar in axes_of(figures.sequence(by_request)).patches if isinstance(bar, Rectangle)
    ]
    assert [bool(bar.get_hatch()) for bar in bars] == [True, False]
    assert [bar.get_height() for bar in bars] == pytest.approx([500, 300])


def test_a_waiting_time_between_five_services_ends_before_the_next_bar() -> None:
    placed = span("customer", "CLIENT", 0.0, 2.1)
    work = span("shop", "SERVER", 0.0, 2.1, parent=placed)
    call = span("shop", "CLIENT", 0.0, 1.02, parent=work)
    charged = span("payment", "SERVER", 0.0, 1.02, parent=call)
    services = ["customer", "shop", "payment", "inventory", "email"]
    figure = figures.sequence([placed, work, call, charged], services)
    axes = axes_of(figure)
    figure.draw_without_rendering()
    payment = min(bar.get_window_extent().x0 for bar in axes.patches if bar.get_x() > 1.5)
    (label,) = [text for text in axes.texts if "1.02 s" in text.get_text()]
    assert payment - label.get_window_extent().x1 > 10


def test_an_event_is_one_arrow_and_nobody_waits(by_event: list[Span]) -> None:
    axes = axes_of(figures.sequence(by_event))
    ((start, end, colour),) = arrows(axes)
    assert (start[1], end[1]) == pytest.approx((0, 300))
    assert colour == to_rgba(EVENT)
    assert texts(axes) == ["process mail"]


def test_a_link_is_drawn_as_the_arrow_that_it_is() -> None:
    sent = span("order_service", "PRODUCER", 0.0, 0.1)
    linked = span("email", "CONSUMER", 0.3, 0.9, link=sent)
    assert len(arrows(axes_of(figures.sequence([sent, linked])))) == 1


def test_a_span_that_failed_has_the_colour_of_failure() -> None:
    sent = span("order_service", "PRODUCER", 0.0, 0.1)
    failed = span("email", "CONSUMER", 0.3, 0.9, parent=sent, error="KeyError")
    bars = axes_of(figures.sequence([sent, failed])).patches
    assert [bar.get_facecolor() for bar in bars] == [to_rgba(EVENT), to_rgba(FAILURE)]


def test_participants_choose_order_and_names(by_request: list[Span]) -> None:
    others = [*by_request, span("noise", "INTERNAL", 99.0, 99.5)]
    axes = axes_of(
        figures.sequence(others, participants={"order_service": "shop", "customer": "you"})
    )
    assert [label.get_text() for label in axes.get_xticklabels()] == ["shop", "you"]
    assert arrows(axes)[0][0] == pytest.approx((0.955, 0))
    with pytest.raises(ValueError, match="no spans of these services"):
        figures.sequence(by_request, participants=["nobody"])


def test_a_waterfall_has_a_bar_for_each_span_callers_first(by_request: list[Span]) -> None:
    axes = axes_of(figures.waterfall([*by_request[::-1]]))
    assert texts(axes) == ["customer: work, 500 ms", "order service: POST /orders, 300 ms"]
    assert [bar.get_x() for bar in axes.patches] == pytest.approx([0, 100])
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([500, 300])


def test_a_latency_curve_ends_at_the_share_that_was_answered() -> None:
    result = load(["200", "200", "timed out", "503"], [0.01, 0.02, 5.0, 0.001])
    axes = axes_of(figures.latency({"by request": result, "by event": [0.1, 0.2]}))
    request, event = axes.lines
    assert list(np.asarray(request.get_xdata())) == [0.01, 0.02]
    assert np.asarray(request.get_ydata())[-1] == 0.5
    assert np.asarray(event.get_ydata())[-1] == 1.0
    assert (request.get_color(), event.get_color()) == (REQUEST, EVENT)
    assert texts(axes) == ["by request", "by event"]
    with pytest.raises(ValueError, match="nothing was answered"):
        figures.latency({"by request": load(["refused"], [0.0])})


def test_a_curve_is_drawn_beside_one_that_ends_far_below_it() -> None:
    poor = load(["200", "503", "503", "503"], [1.0] * 4)
    axes = axes_of(figures.latency({"by event": [0.1, 0.2], "by request": poor}))
    assert texts(axes) == ["by event", "by request"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0001, "0.1 ms"),
        (0.000421, "0.421 ms"),
        (0.01, "10 ms"),
        (0.01234, "12.3 ms"),
        (0.9996, "1 s"),
        (1, "1 s"),
        (1.324, "1.32 s"),
        (100, "100 s"),
        (1234, "1230 s"),
    ],
)
def test_a_time_is_told_in_the_same_way_everywhere(seconds: float, text: str) -> None:
    assert short_time(seconds) == text


def test_outcomes_add_up_to_what_was_offered() -> None:
    result = load(["200", "200", "timed out", "503", "refused"], [0.1] * 5)
    axes = axes_of(figures.outcomes({"by request": result, "by event": {"paid": 7}}))
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [2, 1, 1, 1, 7]
    assert axes.patches[0].get_facecolor() == to_rgba(REQUEST)
    assert axes.patches[1].get_facecolor() == to_rgba(FAILURE)
    assert axes.patches[4].get_facecolor() == to_rgba(EVENT)


def test_lag_is_drawn_with_its_prediction_beside_it() -> None:
    recording = LagRecording("orders", "payment")
    for end, committed in ((0, 0), (100, 20), (100, 100)):
        recording.add(end, committed)
    prediction = predict_lag(10_000, within=1.0, rate=500)
    axes = axes_of(figures.lag(recording, prediction))
    measured, predicted = axes.lines
    assert list(np.asarray(measured.get_ydata())) == [0, 80, 0]
    assert list(np.asarray(predicted.get_xdata())) == [0, 1, 20]
    legend = axes.get_legend()
    assert legend is not None
    words = [text.get_text() for text in legend.get_texts()]
    assert words[0].startswith("measured: drained at")
    assert words[1] == "predicted: drained at 20.0 s"


def test_lines_show_what_was_measured_what_was_predicted_and_when_a_fault_was() -> None:
    figure = figures.lines(
        {"orders": ([0, 1, 2], [10, 20, 30]), "prices": ([0, 1], [5, 5])},
        x="time (s)",
        y="waiting (orders)",
        predictions={"predicted": ([0, 2], [10, 30])},
        during={"bank slow": (1, 2)},
    )
    axes = axes_of(figure)
    orders, prices, predicted = axes.get_lines()
    assert list(np.asarray(orders.get_ydata())) == [10, 20, 30]
    assert (orders.get_color(), prices.get_color()) == (REQUEST, EVENT)
    assert orders.get_marker() != prices.get_marker()  # told apart without colours
    assert predicted.get_linestyle() == "--"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (s)", "waiting (orders)")
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["orders", "prices", "predicted"]
    assert "bank slow" in [text.get_text() for text in axes.texts]


def test_every_figure_is_opaque_wide_and_without_a_title(by_request: list[Span]) -> None:
    drawn = [
        figures.sequence(by_request),
        figures.waterfall(by_request),
        figures.latency({"by request": [0.1, 0.2]}),
        figures.outcomes({"by request": {"answered": 3}}),
        figures.lines({"by request": ([1, 2], [3, 4])}, x="rate", y="time"),
    ]
    for figure in drawn:
        png, size = figure._repr_png_()
        pixels = imread(io.BytesIO(png))
        assert pixels.shape[1] == 1160
        assert size["width"] == 700
        assert pixels.shape[2] == 3 or np.all(pixels[:, :, 3] == 1)
        assert axes_of(figure).get_title() == ""


def test_the_settings_of_matplotlib_stay_as_they_were(by_request: list[Span]) -> None:
    with matplotlib.rc_context({"font.size": 33}):
        figures.sequence(by_request)
        assert matplotlib.rcParams["font.size"] == 33


@pytest.mark.server
def test_a_notebook_shows_a_figure_once_with_pyplot_or_without() -> None:
    draw = "from shoplab import figures\nfigures.latency({'call': [0.1, 0.2]})"
    cells = [draw, f"import matplotlib.pyplot\n{draw}"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=180, kernel_name="python3").execute()
    for cell in notebook.cells:
        (output,) = cell.outputs
        assert output.output_type == "execute_result"
        assert output.data["image/png"]
