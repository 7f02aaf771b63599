"""The laboratory of the course: one object, ``Lab``, gives a notebook all that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoplab.lab import Lab

__all__ = ["Lab"]


def __getattr__(name: str) -> Any:
    # Every child process imports this package; only a notebook needs the Lab.
    if name == "Lab":
        from shoplab.lab import Lab

        return Lab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
