"""Servers that exist elsewhere, named by environment variables: used, never started or stopped."""

from __future__ import annotations

from typing import Any


def settings(kind: str) -> dict[str, Any]:
    """What a client needs to reach the external server of this kind; empty where none is named."""
    return {}
