"""The ``sequence`` directive: a sequence diagram as inline SVG, drawn when the book is built.

One statement a line::

    ```sequence
    :alt: The customer asks the shop and waits for the answer.
    participants: Customer, Shop
    story By request
    wait Customer
    Customer -> Shop: place order
    Shop -> Shop: check stock
    note Shop: the shop works
    Shop --> Customer: confirmed
    done Customer
    ```

A solid arrow (``->``) is a request or an event, a dashed one (``-->``) an answer, a crossed one
(``-x``) is lost. ``wait`` and ``done`` bound the bar of somebody who is blocked or busy; ``story``
heads what follows, below a rule where there is something above. ``:alt:`` is required: it says
what is seen. Colours come from the style sheet, in both themes.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from html import escape

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

MARGIN, HEAD, LINE, GAP = 70, 34, 18, 16  # px, for text of 15 px
CHARACTER = 7.6  # mean width of a character of that text, px
MESSAGE = re.compile(r"(?P<source>.+?)\s*(?P<arrow>-->|->|-x)\s*(?P<target>.+?)\s*:\s*(?P<text>.+)")
NOTE = re.compile(r"note\s+(?P<who>.+?)\s*:\s*(?P<text>.+)")
STORY = re.compile(r"story\s+(?P<text>.+)")
BAR = re.compile(r"(?P<edge>wait|done)\s+(?P<who>.+)")


class SequenceError(ValueError):
    """A line of a diagram that cannot be drawn; the message names the line."""


@dataclass
class Drawing:
    """The diagram so far: the SVG elements, the height reached, the bars that are open."""

    participants: list[str]
    bars: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    open_bars: dict[str, float] = field(default_factory=dict)
    y: float = HEAD + GAP

    def x(self, who: str) -> float:
        """Where the life line of ``who`` stands."""
        if who not in self.participants:
            raise SequenceError(f"'{who}' is not among the participants {self.participants}")
        return MARGIN + self.pitch * self.participants.index(who)

    @property
    def pitch(self) -> float:
        """Between two life lines, px: closer where there are many, whose texts then break."""
        return 172 if len(self.participants) < 4 else 140

    @property
    def width(self) -> float:
        """Of the whole drawing, px."""
        return 2 * MARGIN + self.pitch * (len(self.participants) - 1)

    def text(self, x: float, text: str, room: float, kind: str, anchor: str = "middle") -> None:
        """Write ``text`` centred on ``x`` in lines that fit into ``room`` px, and move down."""
        for line in textwrap.wrap(text, max(8, int(room / CHARACTER))):
            self.y += LINE
            self.shapes.append(
                f'<text class="{kind}" x="{x:g}" y="{self.y:g}" text-anchor="{anchor}">'
                f"{escape(line)}</text>"
            )

    def head(self, x: float, side: int) -> None:
        """The head of an arrow that reaches ``x`` from its left (side -1) or its right (1)."""
        self.shapes.append(f'<path class="head" d="M{x:g} {self.y:g} l{side * 9} -4.5 v9 z"/>')

    def message(self, source: str, arrow: str, target: str, text: str) -> None:
        """An arrow with its text above it; one to oneself is a loop."""
        start, end = self.x(source), self.x(target)
        kind = {"->": "call", "-->": "answer", "-x": "lost"}[arrow]
        if source == target:
            last = source == self.participants[-1]
            side = -1 if last else 1
            self.text(start + side * 12, text, self.pitch - 30, "label", "end" if last else "start")
            self.y += 8
            self.shapes.append(
                f'<path class="arrow {kind}" d="M{start:g} {self.y:g} h{side * 28} v14'
                f' h{-side * 20}"/>'
            )
            self.y += 14
            self.head(start + side * 2, side)
            self.y += GAP
            return
        self.text((start + end) / 2, text, abs(end - start) - 24, "label")
        self.y += 8
        side = -1 if end > start else 1  # from which side of its target the arrow comes
        tip = end + side * 5
        if kind == "lost":
            tip = start + (end - start) * 0.62
            self.shapes.append(
                f'<path class="arrow cross" d="M{tip - 6:g} {self.y - 6:g} l12 12 m0 -12 l-12 12"/>'
            )
        else:
            self.head(tip, side)
        self.shapes.append(
            f'<path class="arrow {kind}" d="M{start:g} {self.y:g} H{tip + side * 6:g}"/>'
        )
        self.y += GAP

    def note(self, who: str, text: str) -> None:
        """A box on the life line of ``who``."""
        room = min(self.pitch, 2 * MARGIN) - 4
        lines = len(textwrap.wrap(text, int((room - 16) / CHARACTER)))
        box = lines * LINE + 12
        self.shapes.append(
            f'<rect class="note" x="{self.x(who) - room / 2:g}" y="{self.y:g}" width="{room}"'
            f' height="{box}" rx="4"/>'
        )
        top = self.y
        self.text(self.x(who), text, room - 16, "inside")
        self.y = top + box + GAP

    def story(self, text: str) -> None:
        """A heading over the whole width, below a rule where there is something above it."""
        if self.shapes:
            self.y += GAP
            self.shapes.append(f'<path class="rule" d="M0 {self.y:g} H{self.width:g}"/>')
        self.text(self.width / 2, text, self.width, "story")
        self.y += GAP

    def bar(self, edge: str, who: str) -> None:
        """Begin ('wait') or end ('done') the bar of ``who``."""
        if edge == "wait":
            self.open_bars[who] = self.y - GAP
            return
        if who not in self.open_bars:
            raise SequenceError(f"'done {who}' without a 'wait {who}' before it")
        top = self.open_bars.pop(who)
        self.bars.append(
            f'<rect class="bar" x="{self.x(who) - 5:g}" y="{top:g}" width="10"'
            f' height="{self.y - GAP - top:g}"/>'
        )


def draw(source: str, alt: str) -> str:
    """The SVG element of the diagram that ``source`` describes; raises SequenceError."""
    first, *statements = [line.strip() for line in source.splitlines() if line.strip()] or [""]
    if not first.startswith("participants:"):
        raise SequenceError("the first line must be 'participants: Name, Name, ...'")
    drawing = Drawing([name.strip() for name in first.partition(":")[2].split(",")])
    for statement in statements:
        if match := NOTE.fullmatch(statement):
            drawing.note(match["who"], match["text"])
        elif match := STORY.fullmatch(statement):
            drawing.story(match["text"])
        elif match := BAR.fullmatch(statement):
            drawing.bar(match["edge"], match["who"])
        elif match := MESSAGE.fullmatch(statement):
            drawing.message(*match.group("source", "arrow", "target", "text"))
        else:
            raise SequenceError(f"cannot read '{statement}'")
    for who in list(drawing.open_bars):
        drawing.bar("done", who)
    lifelines, heads = [], []
    for name in drawing.participants:
        x, box = drawing.x(name), min(2 * MARGIN - 2, len(name) * 8.4 + 28)
        lifelines.append(f'<path class="lifeline" d="M{x:g} {HEAD} V{drawing.y:g}"/>')
        heads.append(
            f'<rect class="who" x="{x - box / 2:g}" y="1" width="{box:g}"'
            f' height="{HEAD - 1}" rx="5"/>'
            f'<text class="name" x="{x:g}" y="23" text-anchor="middle">{escape(name)}</text>'
        )
    # The text stays legible: a wide drawing scrolls in its figure where a telephone is too narrow.
    least = drawing.width * 0.75 if len(drawing.participants) > 3 else 0
    return (
        f'<svg class="sequence" role="img" aria-label="{escape(alt)}"'
        f' viewBox="0 0 {drawing.width:g} {drawing.y + 4:g}"'
        f' style="max-width: {drawing.width:g}px; min-width: {least:g}px">'
        + "".join([*lifelines, *drawing.bars, *heads, *drawing.shapes])
        + "</svg>"
    )


class Sequence(SphinxDirective):
    """Draws its content; a line that cannot be read is an error of the build."""

    has_content = True
    option_spec = {"alt": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Draw, or say which line is wrong."""
        if not self.options.get("alt"):
            raise self.error("a sequence diagram needs :alt:, for the reader who cannot see it")
        try:
            svg = draw("\n".join(self.content), self.options["alt"])
        except SequenceError as error:
            raise self.error(str(error)) from error
        return [
            nodes.raw("", f'<figure class="sequence" tabindex="0">{svg}</figure>', format="html")
        ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_directive("sequence", Sequence)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
