"""What the generator is told to send, and what it tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field

REFUSED = "refused"
RESET = "reset"
TIMED_OUT = "timed out"


@dataclass(frozen=True)
class Plan:
    """What to send and when. ``due`` holds seconds since the start, in ascending order.

    ``bodies`` are JSON texts, used in turn; an empty list sends none. ``timeout`` is in seconds
    from the due time. ``connections`` limits the connections open at once; 0 sets no limit.
    """

    url: str
    method: str
    due: list[float]
    bodies: list[str]
    headers: dict[str, str]
    timeout: float
    connections: int


@dataclass
class Sent:
    """What happened: one entry per request, in the order of the plan, times in seconds.

    ``outcomes`` holds the HTTP status as text, or ``REFUSED``, ``RESET`` or ``TIMED_OUT``. Latency
    counts from the due time. ``started`` is in seconds since the epoch.
    """

    started: float
    lateness: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
