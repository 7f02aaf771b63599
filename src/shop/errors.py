"""What can go wrong that goes away by itself."""

from __future__ import annotations


class Unavailable(Exception):
    """Something that we need does not answer now. To be tried again; no message is to blame."""
