"""A record of the ledger, as a notebook leaves it."""

from __future__ import annotations

import json
from pathlib import Path

RECORD = {
    "id": "ed-persisted-crash-resume",
    "notebook": "04-4",
    "control": 137,
    "treatment": 0,
    "unit": "emails lost",
    "verdict": "holds",
    "limits": {"commit before handling loses": 12},
    "decided_by": None,
    "corrected": None,
    "margin": None,
    "measured_on": {
        "at": "2026-11-26T19:06:01+00:00",
        "machine": "2 cores, Linux x86_64, Python 3.11.7",
        "servers": ["Redis 7.0.15 (on the path)"],
    },
}


def leave(book: Path, **changes: object) -> Path:
    """Leave it with these changes in the ledger of a book."""
    record = RECORD | changes
    path = book / "_build" / "ledger" / f"{record['notebook']}--{record['id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path
