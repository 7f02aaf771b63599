"""PostgreSQL for root with fewer rights than root's, and for a user without a name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoplab.errors import SetupError
from shoplab.paths import cache_directory
from shoplab.servers import postgres, unprivileged
from shoplab.servers.postgres import Postgres

NAMELESS = 54321

SCRIPT = """
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
import psycopg
from shoplab.errors import LabError
from shoplab.servers.postgres import Postgres, require_user
place = Path(sys.argv[1])
server = Postgres(place / "postgres", place)
try:
    require_user()
    server.start()
    with psycopg.connect(host=str(server.sockets), user="postgres") as connection:
        print("serves", *connection.execute("SELECT count(*) FROM pg_database").fetchone())
    server.halt()
    server.kill()
    server.start()
    server.stop()
    print("ended with", server.process.returncode)
except LabError as error:
    print(error)
"""
"""A PostgreSQL that is started, halted, killed, started again and stopped."""

SERVES = "serves 3\nended with 0\n"

BECOME_NAMELESS = [
    *("setpriv", f"--reuid={NAMELESS}", f"--regid={NAMELESS}", "--clear-groups"),
    # so that it can read this checkout, wherever that is
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
]

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def _can_unshare() -> bool:
    try:
        return not subprocess.run(["unshare", "--user", "--map-user=65534", "true"]).returncode
    except OSError:
        return False


namespaces = pytest.mark.skipif(not _can_unshare(), reason="no namespaces of users here")


@pytest.fixture
def place() -> Iterator[Path]:
    """A home and a cache that everybody may reach and write to; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        place = Path(top) / "é home"
        for directory in (place, place / "cache"):
            directory.mkdir()
            directory.chmod(0o777)
        yield place


def run(become: list[str], place: Path, **variables: str) -> str:
    """What the script says when somebody else runs it."""
    done = subprocess.run(
        [*become, sys.executable, "-c", SCRIPT, os.fspath(place)],
        env=os.environ | {"SHOPLAB_CACHE": str(place / "cache")} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.stdout


@pytest.fixture
def without_namespaces(tmp_path: Path) -> dict[str, str]:
    """A path on which ``unshare`` is refused, as in most containers."""
    refused = tmp_path / "bin" / "unshare"
    refused.parent.mkdir()
    refused.write_text("#!/bin/sh\necho unshare failed: Operation not permitted; exit 1\n")
    refused.chmod(0o755)
    return {"PATH": f"{refused.parent}:{os.environ['PATH']}"}


@root
@namespaces
def test_a_user_without_an_entry_in_the_password_file_is_served(place: Path) -> None:
    assert run(BECOME_NAMELESS, place) == SERVES


@root
def test_a_user_without_an_entry_starts_from_data_that_were_formatted_elsewhere(
    place: Path, without_namespaces: dict[str, str], tmp_path: Path
) -> None:
    elsewhere = Postgres(tmp_path / "elsewhere", tmp_path / "elsewhere")
    elsewhere.start()  # leaves a template, if there was none
    elsewhere.stop()
    template = postgres._template()
    shutil.copytree(template, place / "cache" / template.name)
    subprocess.run(["chmod", "-R", "a+rX", place / "cache"], check=True)
    assert run(BECOME_NAMELESS, place, **without_namespaces) == SERVES


@root
def test_a_user_without_an_entry_is_told_how_to_get_one(
    place: Path, without_namespaces: dict[str, str]
) -> None:
    said = run(BECOME_NAMELESS, place, **without_namespaces)
    assert "PostgreSQL wants a user with a name, and user 54321 has none" in said
    assert "unshare failed: Operation not permitted" in said
    assert "Next: give this user an entry in /etc/passwd" in said
    assert "Traceback" not in said


@root
@namespaces
@pytest.mark.parametrize("missing", ["dac_override", "chown", "setuid", "setgid"])
def test_root_that_lacks_a_right_is_served(place: Path, missing: str) -> None:
    assert run(["setpriv", f"--bounding-set=-{missing}"], place) == SERVES


@namespaces
def test_root_of_a_namespace_with_no_other_user_is_served(place: Path) -> None:
    """As in a container without a daemon, where ``setgroups`` is forbidden."""
    assert run(["unshare", "--user", "--map-root-user"], place) == SERVES


@root
def test_root_that_cannot_be_another_user_is_told_why(
    place: Path, without_namespaces: dict[str, str]
) -> None:
    said = run(["setpriv", "--bounding-set=-dac_override"], place, **without_namespaces)
    assert "PostgreSQL refuses to run as root, and root cannot be another user here" in said
    assert "setpriv: apply capabilities: Operation not permitted" in said
    assert "unshare failed: Operation not permitted" in said
    assert "Next: work as an ordinary user" in said
    assert "disk" not in said


def test_where_neither_program_is_there_both_are_named(
    asked_anew: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(unprivileged.Identity, "give", lambda *_: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"setpriv cannot be run .*; unshare cannot be run"):
        postgres.require_user()


@pytest.mark.server
def test_whoever_we_are_now_is_good_enough() -> None:
    assert cache_directory()
    postgres.require_user()
