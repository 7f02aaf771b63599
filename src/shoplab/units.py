"""How a measured value is told to people."""

from __future__ import annotations


def short_time(seconds: float) -> str:
    """A time to three digits: '1.32 s', '521 ms', '0.4 ms'."""
    rounded = float(f"{seconds:.3g}")
    return f"{rounded:g} s" if rounded >= 1 else f"{rounded * 1e3:g} ms"
