"""Where the laboratory keeps its files; every directory it makes is the user's alone (mode 0700).

- the cache: what can be fetched or made again (jars, AOT caches, PostgreSQL's formatted data),
  shared by every checkout;
- the home: the running stack's sockets, logs and data, one for each environment and machine;
- the socket directory: in the home, or below ``/tmp`` where a home's path is too long for sockets.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import platformdirs

from shoplab.errors import SetupError

ENVIRONMENT_MB = 1000
"""What set-up puts into the environment."""

DISK_NEEDED_MB = 500
"""What it needs outside of that, in the cache and the home: 150 MB stay in the cache, as much again
while it is made, and the servers of a notebook write some 100 MB."""

LONGEST_SOCKET = 104
"""Bytes of a Unix socket's path on macOS; Linux takes 108."""

DEEPEST_SOCKET = "sockets/pg-0123456789ab/.s.PGSQL.5432"
"""The longest name of a socket of ours, below a home."""


def private_directory(path: Path) -> Path:
    """Create ``path`` with its parents, mode 0700, and return it; raises ``OSError``."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


FOR_ALL = 0o666
"""The mode of a file that others may read: what is left of it is the user's ``umask`` to say."""


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file so that a reader never sees half of it; raises ``OSError``."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT, mode), "w", encoding="utf-8") as f:
        f.write(text)
    unfinished.replace(path)


def cache_directory() -> Path:
    """Jars and AOT caches: ``SHOPLAB_CACHE``, else the user's cache directory.

    One that several users share may be complete and read-only.
    """
    return _directory("SHOPLAB_CACHE", partial(platformdirs.user_cache_path, "shoplab"), os.R_OK)


def home_directory() -> Path:
    """Sockets, logs and data of the running stack: ``SHOPLAB_HOME``, else one per environment.

    Two checkouts have two virtual environments, hence two stacks that never meet. So have two
    machines, or two containers, that share one user's files: what runs on one is out of the other's
    reach.
    """
    # On macOS the name changes with the network that the machine is in.
    machine = platform.node() if sys.platform == "linux" else ""
    own = short_hash(f"{sys.prefix}\n{machine}")
    state = partial(platformdirs.user_state_path, f"shoplab/{own}")
    return _directory("SHOPLAB_HOME", state, os.R_OK | os.W_OK)


def _directory(variable: str, default: Callable[[], Path], rights: int) -> Path:
    """The directory that a variable names, else the default; ``SetupError`` where it cannot be."""
    chosen = os.environ.get(variable)
    next_step = f"set {variable} to a directory that is yours to write"
    try:
        path = Path(chosen).expanduser().absolute() if chosen else default()
    except RuntimeError as error:  # neither HOME nor the password file knows
        what = "You have no home directory, where the laboratory would keep its files."
        raise SetupError(what, next_step=next_step) from error
    try:
        private_directory(path)
        if not os.access(path, rights | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise SetupError(f"{path} cannot be used: {reason}.", next_step=next_step) from error
    return path


def error_log() -> Path:
    """Where errors that nobody foresaw are written down: in the home, or wherever that is."""
    try:
        return home_directory() / "errors.log"
    except SetupError:
        return Path(tempfile.gettempdir()) / f"shoplab-errors-{os.getuid()}.log"


def socket_directory(home: Path) -> Path:
    """The directory for the Unix sockets of the stack that lives in ``home``; not made yet.

    Below ``/tmp`` it lies whatever ``TMPDIR`` says, so that every shell of the user finds the same.
    """
    if len(os.fsencode(home / DEEPEST_SOCKET)) <= LONGEST_SOCKET:
        return home / "sockets"
    return Path("/tmp") / f"shoplab-{os.getuid()}" / short_hash(str(home))


def private_socket_directory(home: Path) -> Path:
    """Make the socket directory of ``home``, and return it.

    Raises ``PermissionError`` where somebody else has put something below ``/tmp`` in its place.
    """
    directory = socket_directory(home)
    if directory.parent != home:
        base = private_directory(directory.parent)
        if base.is_symlink() or base.stat().st_uid != os.getuid():
            raise PermissionError(f"{base} belongs to another user")
        base.chmod(0o700)
    return private_directory(directory)


def short_hash(text: str) -> str:
    """A name of twelve letters for what has a long one."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
