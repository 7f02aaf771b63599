"""Dependencies: declared in pyproject.toml alone, and locked, each with its hashes."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from checkout import CHECKOUT

LOCK = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8")
MAKEFILE = (CHECKOUT / "Makefile").read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def name(requirement: str) -> str:
    """The name in a line such as `psycopg[binary]==3.3.4`, as registries spell it."""
    found = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def locked() -> dict[str, str]:
    """Each package's lines in the lock."""
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", LOCK))
    return {name(entry): entry for entry in entries}


def test_every_locked_package_has_a_hash() -> None:
    assert len(locked()) > 100
    assert [name for name, entry in locked().items() if "--hash=sha256:" not in entry] == []


def test_the_lock_names_no_place_to_fetch_from() -> None:
    assert re.findall(r"(?m)://|^-.*", LOCK) == []


def test_everything_declared_is_locked() -> None:
    groups = project()["dependency-groups"].values()
    wanted = [*project()["project"]["dependencies"], *(each for group in groups for each in group)]
    assert {name(each) for each in wanted} - locked().keys() == set()


def test_every_group_is_locked_and_checked() -> None:
    (groups,) = re.findall(r"(?m)^groups := (\S+)$", MAKEFILE)
    assert groups.split(",") == list(project()["dependency-groups"])


def test_the_first_step_of_set_up_finds_uv_in_the_lock() -> None:
    # tools/setup.py installs these lines with pip before anything else
    start = LOCK.index("\nuv==") + 1
    first, *hashes = LOCK[start : LOCK.index("    # via", start)].splitlines()
    assert re.fullmatch(r"uv==\S+ \\", first)
    assert all(line.startswith("    --hash=sha256:") for line in hashes)
