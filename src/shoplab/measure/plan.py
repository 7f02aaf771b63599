"""What the generator is told to send, and what it tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field

REFUSED = "refused"
RESET = "reset"
TIMED_OUT = "timed out"


SPARED = 2.0
"""Further tries that a budget keeps in store at most."""


@dataclass(frozen=True)
class Retry:
    """Customers who have patience, and try again where an answer fails or does not come.

    Each gives up a try after ``patience`` seconds and tries ``tries`` times at most. Before the
    n-th further try it waits, at random, up to ``backoff`` times 2 to the power of n seconds (full
    jitter: aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter). With ``budget`` all
    customers together may try again only so often for each first try: 0.1 is one in ten.
    """

    tries: int
    patience: float
    backoff: float = 0.0
    budget: float | None = None


@dataclass(frozen=True)
class Plan:
    """What to send and when. ``due`` holds seconds since the start, in ascending order.

    ``bodies`` are JSON texts, used in turn as ``headers`` are; an empty list sends none.
    ``timeout`` is in seconds
    from the due time. ``connections`` limits the connections open at once; 0 sets no limit.
    ``seed`` is that of the pauses before a further try.
    """

    url: str
    method: str
    due: list[float]
    bodies: list[str]
    headers: list[dict[str, str]]
    timeout: float
    connections: int
    retry: Retry
    seed: int


@dataclass
class Sent:
    """What happened: one entry per request, in the order of the plan, times in seconds.

    ``outcomes`` holds the HTTP status as text, or ``REFUSED``, ``RESET`` or ``TIMED_OUT``. Latency
    counts from the due time. ``tries`` counts the requests that each took. ``started`` is in
    seconds since the epoch.
    """

    started: float
    lateness: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)
