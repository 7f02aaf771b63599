"""How a measured value is written for people: in digits that mean something, its unit said once."""

from __future__ import annotations

Value = int | float | bool | str
"""What was measured: a count, a time, a yes or no, a word."""

SECONDS = "seconds"
"""How a unit of time begins: ``seconds until the customer may leave``."""

NEGLIGIBLE = 1 / 1000
"""The share of the value beside it below which a value that is no time is said to be about 0."""


def told(unit: str, *values: Value) -> tuple[str, list[str]]:
    """The unit and the values that were measured in it, as people say them.

    A time is written in seconds or milliseconds, whichever suits it, so its unit becomes a name:
    'time until the customer may leave', '2.02 s', '0.4 ms'.
    """
    if unit.startswith(SECONDS) and not any(isinstance(value, bool | str) for value in values):
        return unit.replace(SECONDS, "time", 1), [_duration(float(value)) for value in values]
    largest = max((abs(value) for value in values if not isinstance(value, str)), default=0)
    return unit, [_shown(value, largest) for value in values]


def _shown(value: Value, largest: float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if 0 < abs(value) < largest * NEGLIGIBLE:
        return "about 0"
    return f"{value + 0:,.0f}" if abs(value) >= 1000 else f"{value + 0:.3g}"


def _duration(seconds: float) -> str:
    """Three digits at most, and a tenth of a millisecond at least: no clock of ours tells more."""
    milliseconds = abs(seconds) * 1000
    sign = "-" if seconds < 0 else ""
    if milliseconds == 0:
        return "0 s"
    if milliseconds < 0.05:
        return "under 0.1 ms"
    if milliseconds < 10:
        return f"{sign}{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{sign}{milliseconds:.0f} ms"
    return f"{sign}{_shown(milliseconds / 1000, 0)} s"
