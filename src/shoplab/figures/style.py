"""One look for every figure: size, type, colours, and how a notebook shows it."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

REQUEST = "#9a5b00"
"""Amber: what is request-driven, on every page (the book's style sheet has the same)."""
EVENT = "#00639c"
"""Blue: what is event-driven."""
FAILURE = "#c2185b"
"""Raspberry: what failed. A red would be the amber's twin to those who see no red or green."""
PREDICTION = "#595959"
"""Dark grey, dashed: what arithmetic predicted."""
NEUTRAL = "#767676"
"""Grey: what is neither, and whatever only helps to read."""
# Text in each has a contrast of 4.5 to 1 on white. The three that carry meaning stay apart, by 20
# units of CIE Lab or more, also under protanopia, deuteranopia and tritanopia.

WIDTH = 5.8
"""Inches. A column of 700 px shows 10 points as 17 px, a telephone's of 350 px as 8 px."""
DOTS_PER_INCH = 200
COLUMN = 700
"""Pixels of the book's text column."""

STYLE: Any = {
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.labelcolor": "#333333",
    "axes.edgecolor": "#999999",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.color": "#999999",
    "ytick.color": "#999999",
    "xtick.labelcolor": "#333333",
    "ytick.labelcolor": "#333333",
    "text.color": "#222222",
    "lines.linewidth": 2.2,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "hatch.linewidth": 1.2,
}

OUTLINE = [withStroke(linewidth=3, foreground="white")]
"""Path effect that keeps text legible where it crosses a line."""

P = ParamSpec("P")
T = TypeVar("T")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw with this module's settings, and leave matplotlib's own as they were."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return draw(*args, **kwargs)

    return drawn


class Chart(Figure):
    """A figure that a notebook shows once, as a cell's last value, without pyplot's state."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        drawn, image = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png")
        # Few colours, so a palette does: 27 figures of the book weigh 0.7 MB and not 1.7.
        palette = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        palette.save(image, "png", optimize=True)
        width, height = self.get_size_inches()
        return image.getvalue(), {"width": COLUMN, "height": round(COLUMN * height / width)}


def chart(height: float) -> Chart:
    """An empty figure of the column's width and ``height`` inches."""
    return Chart(
        figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white"
    )
