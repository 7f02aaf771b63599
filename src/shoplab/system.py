"""Which systems the laboratory runs on."""

from __future__ import annotations

import platform

from shoplab.errors import SetupError


def require_supported_system() -> None:
    """Raise ``SetupError`` on a system that the local servers do not run on."""
    if platform.system() not in ("Linux", "Darwin"):
        raise SetupError(
            f"The local servers run on Linux and macOS, not natively on {platform.system()}.",
            next_step="work in WSL 2, or start the servers with `docker compose up` (see README)",
        )
