"""What every process asked for, was told and did, and whether that keeps what was promised.

A crash experiment that only counts can be right by accident. Here each process appends a line for
what it invokes, for the answer, and for what it does; at the end one function, ``check``, holds all
the lines against a promise, and names the first event that breaks it.

The way is that of Jepsen (github.com/jepsen-io/jepsen, ``checker.clj``, ``total-queue``) and of
Maelstrom. Jepsen's words in ours: ``:invoke`` is *invoked*, ``:ok`` *acknowledged*, ``:fail``
*refused*. An operation without an answer, ``:info`` there, may have happened or not: it is neither
lost nor from nowhere. What was *done* is what Jepsen reads from the system under test. One thing is
stricter here: an operation is told by its key, so asking again makes no second doing right.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from shoplab.errors import HistoryError

LINE = 256
"""Bytes of a line. They divide a page of memory, at whose end SIGKILL can cut a write in two."""

AROUND = 2
"""Lines before and after a fault that are shown, beside all those of the same operation."""

Key = int | str
Operation = tuple[str, Key]
Outcome = Literal["invoked", "acknowledged", "refused", "done"]
Promise = Literal["exactly once", "at least once", "at most once"]
Kind = Literal["lost", "repeated", "out of sequence", "from nowhere"]

PERMITTED: dict[Promise, set[Kind]] = {
    "exactly once": set(),
    "at least once": {"repeated"},
    "at most once": {"lost"},
}
"""What may happen under each promise; nothing else may."""


@dataclass(frozen=True)
class Event:
    """One line: the outcome of an operation, told by the process ``process`` at a moment.

    ``at`` is in nanoseconds, on the clock that all processes of a machine share. A history has its
    events in the sequence in which they were appended.
    """

    outcome: Outcome
    operation: str
    key: Key
    process: int
    at: int

    def __str__(self) -> str:
        return f"{self.outcome} {self.operation} {self.key}"


class History:
    """A file to which all processes of a run append; hand it to them as an argument.

    A line is one write and is whole whenever its process is killed. Nothing else needs to live: no
    server, and no other process.
    """

    def __init__(self, path: Path) -> None:
        """Refer to the file; ``Lab.history`` makes it."""
        self.path = path
        self._events: list[Event] = []
        self._done: Counter[Operation] = Counter()

    def invoked(self, operation: str, key: Key) -> None:
        """Append that this process asks for an operation now: do so before you ask."""
        self._append("invoked", operation, key)

    def acknowledged(self, operation: str, key: Key) -> None:
        """Append the answer: it is done, or will be."""
        self._append("acknowledged", operation, key)

    def refused(self, operation: str, key: Key) -> None:
        """Append the answer: it is not done and never will be. A time-out says no such thing."""
        self._append("refused", operation, key)

    def done(self, operation: str, key: Key) -> None:
        """Append that this process has done it."""
        self._append("done", operation, key)

    def events(self) -> list[Event]:
        """All that was appended so far, in that sequence."""
        with self.path.open("rb") as file:
            file.seek(len(self._events) * LINE)
            new = [Event(**json.loads(line)) for line in file]
        self._events += new
        self._done.update((each.operation, each.key) for each in new if each.outcome == "done")
        return list(self._events)

    def times_done(self, operation: str, key: Key) -> int:
        """How often an operation has been done so far."""
        self.events()
        return self._done[operation, key]

    def check(
        self,
        promise: Promise = "exactly once",
        *,
        found: Iterable[Operation] = (),
        sequence_of: Callable[[Event], Hashable] | None = None,
    ) -> Verdict:
        """Hold the history against a promise; see ``check`` of this module.

        ``found`` are operations whose doing shows in the end, in a table say, in their sequence. It
        is for effects of which no process can append a line in the same step.
        """
        found_now = (_event("done", operation, key) for operation, key in found)
        return check([*self.events(), *found_now], promise, sequence_of=sequence_of)

    def __reduce__(self) -> tuple[type[History], tuple[Path]]:
        """Travel as the place of the file."""
        return History, (self.path,)

    def _append(self, outcome: Outcome, operation: str, key: Any) -> None:
        line = json.dumps(asdict(_event(outcome, operation, key)), default=repr).encode()
        if not isinstance(key, int | str) or len(line) >= LINE:
            raise HistoryError(
                f"{key!r} cannot be the key of {operation!r} in a history.",
                next_step="give the operation a number or a short text, such as the order's number",
            )
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, line.ljust(LINE - 1) + b"\n")
        finally:
            os.close(file)


@dataclass(frozen=True)
class Fault:
    """What is wrong with one event, the ``place``-th of its history: ``kind``, and why in words."""

    kind: Kind
    place: int
    event: Event
    why: str

    def __str__(self) -> str:
        return f"{self.event.operation} {self.event.key} is {self.kind}"


@dataclass(frozen=True, repr=False)
class Verdict:
    """A history held against a promise: how much of it there was, and every fault.

    ``lost``, ``repeated``, ``out_of_sequence`` and ``from_nowhere`` count, whatever was promised;
    ``first`` is the first fault that the promise does not permit, None where it was kept.
    """

    promise: Promise
    events: Sequence[Event]
    invoked: int
    acknowledged: int
    done: int
    faults: Sequence[Fault]

    @property
    def lost(self) -> int:
        """Operations that were acknowledged and never done."""
        return self._count("lost")

    @property
    def repeated(self) -> int:
        """How often something was done that had been done before."""
        return self._count("repeated")

    @property
    def out_of_sequence(self) -> int:
        """Operations that were done after one of their sequence that was invoked later."""
        return self._count("out of sequence")

    @property
    def from_nowhere(self) -> int:
        """Operations that were done or answered uninvoked, or done though they were refused."""
        return self._count("from nowhere")

    @property
    def first(self) -> Fault | None:
        """The first fault that breaks the promise."""
        permitted = PERMITTED[self.promise]
        return next((fault for fault in self.faults if fault.kind not in permitted), None)

    def assert_kept(self) -> Verdict:
        """Return itself if the promise was kept.

        ``HistoryError`` names the first event that breaks it, with the lines around it. It is also
        raised where nothing was acknowledged: whoever does nothing breaks no promise.
        """
        if not self.acknowledged:
            raise HistoryError(
                "Nothing in this history was acknowledged, so no promise was tried.",
                next_step="look whether the run did its work",
            )
        if self.first is not None:
            raise HistoryError(
                f"{self.first}: {self.first.why}.\n{self.around(self.first)}",
                next_step=f"look at the marked line: the promise was {self.promise}",
            )
        return self

    def around(self, fault: Fault) -> str:
        """The lines around a fault, and all those of the same operation; milliseconds, process."""
        ours = (fault.event.operation, fault.event.key)
        shown = [
            place
            for place, event in enumerate(self.events)
            if abs(place - fault.place) <= AROUND or (event.operation, event.key) == ours
        ]
        lines = [self._line(shown[0], fault)]
        for before, place in pairwise(shown):
            lines += ["    ..."] * (place > before + 1) + [self._line(place, fault)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """One sentence: 'exactly once broken, first: email 7 is lost (10 acknowledged: 1 lost)'."""
        kept = "kept" if self.first is None else f"broken, first: {self.first}"
        kinds: tuple[Kind, ...] = ("lost", "repeated", "out of sequence", "from nowhere")
        counts = [f"{self._count(kind):,} {kind}" for kind in kinds if self._count(kind)]
        return f"{self.promise} {kept} ({self.acknowledged:,} acknowledged" + (
            f": {', '.join(counts)})" if counts else ")"
        )

    def _count(self, kind: Kind) -> int:
        return sum(fault.kind == kind for fault in self.faults)

    def _line(self, place: int, fault: Fault) -> str:
        event = self.events[place]
        mark = ">" if place == fault.place else " "
        moment = (event.at - self.events[0].at) / 1e6
        return f"  {mark} {moment:10.1f} ms  process {event.process}  {event}"


@dataclass
class _Story:
    """What became of one operation, as places in the history."""

    invoked: int | None = None
    untold: int | None = None
    acknowledged: int | None = None
    refused: bool = False
    done: list[int] = field(default_factory=list)


def check(
    events: Sequence[Event],
    promise: Promise = "exactly once",
    *,
    sequence_of: Callable[[Event], Hashable] | None = None,
) -> Verdict:
    """Hold a history against a promise: that what was acknowledged is done, and how often.

    An operation is its name and its key. One that was acknowledged must be done; one that was
    refused, or that nobody invoked, must not; one that never had an answer may be. ``sequence_of``
    tells which sequence an event belongs to (a customer's, a partition's): in each, what was
    invoked first must be done first. What is repeated does not count there.
    """
    stories: dict[Operation, _Story] = {}
    for place, event in enumerate(events):
        story = stories.setdefault((event.operation, event.key), _Story())
        _tell(story, place, event.outcome)
    faults = [
        Fault(kind, place, events[place], why)
        for story in stories.values()
        for kind, place, why in _faults(story)
    ]
    if sequence_of is not None:
        faults += _overtaken(events, stories.values(), sequence_of)
    return Verdict(
        promise,
        events,
        invoked=sum(story.invoked is not None for story in stories.values()),
        acknowledged=sum(story.acknowledged is not None for story in stories.values()),
        done=sum(bool(story.done) for story in stories.values()),
        faults=sorted(faults, key=lambda fault: fault.place),
    )


def _tell(story: _Story, place: int, outcome: Outcome) -> None:
    if outcome == "invoked":
        story.refused = False  # it is asked for again, and no longer known
        if story.invoked is None:
            story.invoked = place
    elif story.invoked is None and story.untold is None:
        story.untold = place
    if outcome == "acknowledged" and story.acknowledged is None:
        story.acknowledged = place
    if outcome == "refused":
        story.refused = True
    if outcome == "done":
        story.done.append(place)


def _faults(story: _Story) -> Iterator[tuple[Kind, int, str]]:
    if story.untold is not None:
        yield "from nowhere", story.untold, "nobody had invoked it"
    elif story.done and story.refused and story.acknowledged is None:
        yield "from nowhere", story.done[0], "it was refused, and yet it was done"
    if story.acknowledged is not None and not story.done:
        yield "lost", story.acknowledged, "it was acknowledged and never done"
    for again in story.done[1:]:
        yield "repeated", again, "it had been done before"


def _overtaken(
    events: Sequence[Event],
    stories: Iterable[_Story],
    sequence_of: Callable[[Event], Hashable],
) -> Iterator[Fault]:
    """What was done after something of its sequence that was invoked later."""
    newest: dict[Hashable, int] = {}
    firsts = [(each.done[0], each.invoked) for each in stories if each.done]
    for place, invoked in sorted((d, i) for d, i in firsts if i is not None):
        event = events[place]
        sequence = sequence_of(event)
        ahead = newest.setdefault(sequence, invoked)
        if invoked < ahead:
            overtaker = events[ahead]
            why = f"{overtaker.operation} {overtaker.key} was invoked later and done before"
            yield Fault("out of sequence", place, event, why)
        newest[sequence] = max(ahead, invoked)


def _event(outcome: Outcome, operation: str, key: Key) -> Event:
    # On Linux and on macOS this clock began with the machine, so all processes read the same one.
    return Event(outcome, operation, key, os.getpid(), time.monotonic_ns())
