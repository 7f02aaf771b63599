"""Open-loop load on an HTTP service: requests leave at their due times, whatever the answers.

A closed loop waits for one answer before it sends the next request, so a stalled service slows the
measurement down and hides its own stall (coordinated omission). Here every latency counts from the
time a request was due, so that waiting shows.
"""

from __future__ import annotations

import ipaddress
import itertools
import json as jsonlib
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from shoplab.errors import LoadError
from shoplab.measure.plan import REFUSED, RESET, TIMED_OUT, Plan, Retry, Sent
from shoplab.units import short_time

MAX_REQUESTS = 50_000
MAX_SECONDS = 300.0
LATENESS_BOUND = 0.010
"""Seconds; a generator whose p99 lateness is above it did not keep its own schedule."""

START_ALLOWANCE = 30.0
"""Seconds a busy machine may take to start the generator and to read its records."""

Headers = Mapping[str, str] | Callable[[int], Mapping[str, str]] | None
Body = Mapping[str, Any] | Sequence[Any] | Callable[[int], Any] | None


@dataclass(frozen=True)
class LoadResult:
    """What became of every request that was offered; arrays hold one entry per request.

    ``due`` is in seconds since the start, ``latency`` in seconds since the due time, ``lateness``
    how many seconds after its due time the request left. ``outcome`` is the HTTP status as text, or
    'refused', 'reset' or 'timed out'. Where customers may try again, latency and outcome are those
    of the last of their ``tries``. ``rate`` is the rate asked for, per second; ``started`` the time
    of the start in seconds since the epoch.
    """

    rate: float
    started: float
    due: NDArray[np.float64]
    latency: NDArray[np.float64]
    lateness: NDArray[np.float64]
    outcome: NDArray[np.str_]
    tries: NDArray[np.int_]

    @property
    def offered(self) -> int:
        """Requests sent."""
        return len(self.due)

    @cached_property
    def by_status(self) -> dict[int, int]:
        """Requests that got an HTTP answer, counted by its status."""
        counts = Counter(int(name) for name in self.outcome if name.isdigit())
        return dict(sorted(counts.items()))

    @cached_property
    def outcomes(self) -> dict[str, int]:
        """Requests by what became of them: 'answered', then whatever else occurred.

        A rejection is named with its status: 'rejected (503)'.
        """
        failures = {
            f"rejected ({status})": count
            for status, count in self.by_status.items()
            if not 200 <= status < 300
        }
        failures |= {REFUSED: self.refused, RESET: self.reset, TIMED_OUT: self.timed_out}
        return {"answered": self.answered} | {name: n for name, n in failures.items() if n}

    @property
    def answered(self) -> int:
        """Requests answered with a status of 200 to 299."""
        return int(np.sum(self.was_answered))

    @property
    def rejected(self) -> int:
        """Requests that got an answer with any other status, such as 429 or 503."""
        return sum(self.by_status.values()) - self.answered

    @property
    def refused(self) -> int:
        """Requests whose connection was refused: nobody listened."""
        return int(np.sum(self.outcome == REFUSED))

    @property
    def reset(self) -> int:
        """Requests whose connection broke before a whole, valid answer had come."""
        return int(np.sum(self.outcome == RESET))

    @property
    def timed_out(self) -> int:
        """Requests without a whole answer within the time-out, counted from the due time."""
        return int(np.sum(self.outcome == TIMED_OUT))

    @property
    def duration(self) -> float:
        """Seconds from the first due time to the last outcome."""
        return float(np.max(self.due + self.latency) - self.due[0])

    @property
    def achieved_rate(self) -> float:
        """Requests that left, per second, over the time in which they left."""
        left = self.due + self.lateness
        span = float(left[-1] - left[0])
        return (self.offered - 1) / span if span > 0 else math.nan

    @property
    def was_answered(self) -> NDArray[np.bool_]:
        """For each request, whether it was answered with a status of 200 to 299."""
        return np.char.startswith(self.outcome, "2")

    def percentile(self, percent: float) -> float:
        """Latency in seconds that ``percent`` of the answered requests did not exceed.

        Requests that failed have no answer and are not in it; NaN when none was answered.
        """
        return _percentile(self.latency[self.was_answered], percent)

    def lateness_percentile(self, percent: float) -> float:
        """Seconds after its due time within which ``percent`` of all requests left."""
        return _percentile(self.lateness, percent)

    @property
    def kept_schedule(self) -> bool:
        """Whether the generator itself was in time: p99 lateness within ``LATENESS_BOUND``."""
        return self.lateness_percentile(99) <= LATENESS_BOUND

    def __str__(self) -> str:
        """One line: '500 offered at 100/s: 493 answered, 7 timed out; p50 12 ms, p99 80 ms'."""
        parts = ", ".join(f"{count:,} {outcome}" for outcome, count in self.outcomes.items())
        text = f"{self.offered:,} offered at {self.rate:,.0f}/s: {parts}"
        if self.answered:
            text += (
                f"; p50 {short_time(self.percentile(50))}, p99 {short_time(self.percentile(99))}"
            )
        if self.tries.max() > 1:
            text += f"; {self.tries.mean():.1f} tries each"
        if not self.kept_schedule:
            late = short_time(self.lateness_percentile(99))
            text += (
                f". The load generator fell behind its own schedule: p99 lateness {late}, "
                f"more than {short_time(LATENESS_BOUND)}"
            )
        return text


def offer(
    url: str,
    *,
    rate: float,
    count: int | None = None,
    seconds: float | None = None,
    method: str = "GET",
    json: Body = None,
    headers: Headers = None,
    timeout: float = 5.0,
    connections: int = 0,
    arrivals: Literal["constant", "poisson"] = "constant",
    retry: Retry | None = None,
    seed: int = 1,
) -> LoadResult:
    """Offer ``rate`` requests a second to a local HTTP service, until ``count`` or ``seconds``.

    ``json`` is the body: one value for every request, a list used in turn, or a function of the
    request's index; ``headers`` are the same for every request, or a function of its index too.
    ``timeout`` is in seconds from the due time. ``connections`` limits those open at once (0: no
    limit); a request that waits for one has left its caller, so the wait is latency.
    ``arrivals`` spaces the requests evenly, or at random with the same mean (Poisson, by ``seed``).
    With ``retry`` customers lose patience and try again, until ``timeout`` at the latest.

    Raises ``LoadError`` for a load that is not local, not bounded or too large, and when the
    generator itself fails.
    """
    _check_local(url)
    if retry is not None and (retry.tries < 1 or retry.patience <= 0 or retry.backoff < 0):
        raise LoadError(
            f"Nobody can try like this: {retry}.",
            next_step="give at least one try, some patience, and a backoff of 0 or more",
        )
    due = _schedule(rate, count, seconds, arrivals, seed)
    bodies = [jsonlib.dumps(body) for body in _for_each(json, len(due))]
    sent_with = [dict(each) for each in _for_each(headers, len(due))]
    patient = retry or Retry(tries=1, patience=timeout)
    plan = Plan(url, method, due, bodies, sent_with, timeout, connections, patient, seed)
    limit = due[-1] + timeout + START_ALLOWANCE
    try:
        done = subprocess.run(
            [sys.executable, "-m", "shoplab.measure.generator"],
            input=jsonlib.dumps(asdict(plan)),
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired as error:
        raise LoadError(
            f"The load generator did not end within {limit:.0f} s.",
            next_step="offer a lower rate; the machine may be too busy",
        ) from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise LoadError(
            f"The load generator stopped: {reason}.",
            next_step="limit `connections`, or offer a lower rate or a shorter time",
        )
    sent = Sent(**jsonlib.loads(done.stdout))
    return LoadResult(
        rate=rate,
        started=sent.started,
        due=np.array(due),
        latency=np.array(sent.latency),
        lateness=np.array(sent.lateness),
        outcome=np.array(sent.outcomes),
        tries=np.array(sent.tries),
    )


def _check_local(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if parts.scheme != "http" or not local:
        raise LoadError(
            f"Load is offered to services of this machine only, not to {url}.",
            next_step="give an http:// address on 127.0.0.1, ::1 or localhost",
        )


def _schedule(
    rate: float, count: int | None, seconds: float | None, arrivals: str, seed: int
) -> list[float]:
    if (count is None) == (seconds is None) or rate <= 0 or (count or seconds or 0) <= 0:
        raise LoadError(
            "A load needs a rate above 0 and one bound above 0: count or seconds.",
            next_step="call offer(url, rate=..., count=...) or offer(url, rate=..., seconds=...)",
        )
    number = count if count is not None else max(1, round(rate * (seconds or 0)))
    if number > MAX_REQUESTS or number / rate > MAX_SECONDS:
        raise LoadError(
            f"{number:,} requests over {number / rate:,.0f} s are too many; the bounds are "
            f"{MAX_REQUESTS:,} requests and {MAX_SECONDS:.0f} s.",
            next_step="offer fewer requests, or a shorter time",
        )
    if arrivals == "constant":
        return [index / rate for index in range(number)]
    source = random.Random(seed)
    return list(itertools.accumulate(source.expovariate(rate) for _ in range(number)))


def _for_each(given: Body | Headers, count: int) -> list[Any]:
    if given is None:
        return []
    if callable(given):
        return [given(index) for index in range(count)]
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def _percentile(seconds: NDArray[np.float64], percent: float) -> float:
    """The smallest of the values that ``percent`` of them do not exceed; NaN of none."""
    if seconds.size == 0:
        return math.nan
    return float(np.percentile(seconds, percent, method="inverted_cdf"))
