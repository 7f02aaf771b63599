"""As whom PostgreSQL runs: it refuses root, and refuses to format data for a user without a name.

Root becomes ``nobody`` with ``setpriv``. The directories above the server's own stay closed to
everybody (0700), root's home among them, so the server keeps one of root's capabilities: to pass
through directories. Opening them to all users, as other packages do, would be the worse way.

Where that is forbidden, or we are somebody without an entry in the password file, ``unshare`` gives
PostgreSQL a namespace in which our user is called ``nobody``; to everybody else it stays our user.
Containers often forbid that in turn.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shoplab.errors import SetupError
from shoplab.servers.programs import Unfit, ask

NAME = "nobody"


@dataclass(frozen=True)
class Identity:
    """What goes before a command, and to whom its files have to be given, if not to us."""

    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None

    def give(self, *paths: Path) -> None:
        """Give files of ours to this identity."""
        if self.owner is not None:
            for path in paths:
                os.chown(path, *self.owner)


def of_server() -> Identity:
    """As whom ``postgres`` runs here; ``SetupError`` where we are root and cannot be another."""
    if os.geteuid() != 0:
        return Identity()
    found = _first_that_works(_another_user, _another_name)
    if isinstance(found, Identity):
        return found
    raise SetupError(
        f"PostgreSQL refuses to run as root, and root cannot be another user here ({found}).",
        next_step="work as an ordinary user, or leave root its capabilities (CHOWN, SETUID, "
        "SETGID, DAC_OVERRIDE), or set DATABASE_URL to a server you have",
    )


def of_initdb() -> Identity:
    """As whom ``initdb`` runs here; ``SetupError`` where we have no name and can have none."""
    if os.geteuid() == 0 or _has_name(os.geteuid()):
        return of_server()
    found = _first_that_works(_another_name)
    if isinstance(found, Identity):
        return found
    raise SetupError(
        f"PostgreSQL wants a user with a name, and user {os.geteuid()} has none ({found}).",
        next_step="give this user an entry in /etc/passwd (in a container, `docker run --volume "
        "/etc/passwd:/etc/passwd:ro` takes yours), or set DATABASE_URL to a server you have",
    )


def _another_user() -> Identity:
    user = pwd.getpwnam(NAME)
    capabilities = "-all,+dac_override"
    prefix = (
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *(f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"),
    )
    return Identity(prefix, (user.pw_uid, user.pw_gid))


def _another_name() -> Identity:
    user = pwd.getpwnam(NAME)
    return Identity(
        ("unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}")
    )


@cache
def _first_that_works(*ways: Callable[[], Identity]) -> Identity | str:
    """The first way that works, or why none does."""
    refusals = []
    for way in ways:
        try:
            identity = way()
            with tempfile.TemporaryDirectory() as scratch:
                identity.give(Path(scratch))
            ask(*identity.prefix, "true")
            return identity
        except KeyError:
            refusals.append(f"there is no user {NAME}")
        except OSError as error:
            refusals.append(f"chown: {error.strerror}")
        except Unfit as reason:
            refusals.append(f"{identity.prefix[0]} {reason}")
    return "; ".join(refusals)


def _has_name(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False
