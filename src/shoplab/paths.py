"""Where the laboratory keeps its files; every directory it makes is the user's alone (mode 0700).

- the cache: what can be fetched or made again (jars, AOT caches), shared by every checkout;
- the home: state of the running stack (state file, logs, data), one for each environment;
- the socket directory: Unix sockets only, because their paths end at 104 bytes on macOS.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import platformdirs


def private_directory(path: Path) -> Path:
    """Create ``path`` with its parents, mode 0700, and return it."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def cache_directory() -> Path:
    """Jars and AOT caches: ``SHOPLAB_CACHE``, else the user's cache directory."""
    chosen = os.environ.get("SHOPLAB_CACHE")
    return private_directory(Path(chosen) if chosen else platformdirs.user_cache_path("shoplab"))


def home_directory() -> Path:
    """State, logs and data of the running stack: ``SHOPLAB_HOME``, else one per environment.

    Two checkouts have two virtual environments, hence two stacks that never meet.
    """
    chosen = os.environ.get("SHOPLAB_HOME")
    if chosen:
        return private_directory(Path(chosen))
    return private_directory(platformdirs.user_state_path("shoplab") / short_hash(sys.prefix))


def socket_directory(home: Path) -> Path:
    """A short directory for the Unix sockets of the stack that lives in ``home``.

    It is below ``/tmp`` whatever ``TMPDIR`` says, so that its path is short, and every shell of the
    user finds the same. Raises ``PermissionError`` where somebody else has put something there.
    """
    base = private_directory(Path("/tmp") / f"shoplab-{os.getuid()}")
    if base.is_symlink() or base.stat().st_uid != os.getuid():
        raise PermissionError(f"{base} belongs to another user")
    base.chmod(0o700)
    return private_directory(base / short_hash(str(home)))


def short_hash(text: str) -> str:
    """A name of twelve letters for what has a long one."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
