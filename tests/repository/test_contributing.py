"""What CONTRIBUTING.md and the page on the laboratory name is there, and no variable is missing."""

from __future__ import annotations

import re
import subprocess

from checkout import CHECKOUT

GUIDE = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGE = (CHECKOUT / "book" / "how-the-laboratory-works.md").read_text(encoding="utf-8")
OURS = r"\b(SHOPLAB|BOOK|REQUIRE)_[A-Z_]+\b|\b(CHROMIUM|JOBS|FRESH|NOTEBOOKS|ROUNDS)\b"


def variables() -> set[str]:
    """The variables in the table."""
    return set(re.findall(r"(?m)^\| `([A-Z_]+)` \|", GUIDE))


def named(*places: str) -> set[str]:
    """The variables of ours that tracked files in these places name."""
    command = ["git", "grep", "--untracked", "-ohE", OURS, "--", *places]
    found = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_the_table_has_every_variable_of_ours() -> None:
    assert named(".", ":!CONTRIBUTING.md") - variables() == set()


def test_the_table_has_no_variable_that_nothing_reads() -> None:
    assert variables() - named("src", "tools", "tests", "book/_ext", "Makefile") == set()


def test_the_guide_is_found_from_readme() -> None:
    assert "(CONTRIBUTING.md)" in (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_every_file_that_is_named_is_there() -> None:
    names = set(re.findall(r"`([\w./-]+(?:/|\.\w+))`", GUIDE + PAGE))
    names |= set(re.findall(r"\]\(([\w./-]+)\)", GUIDE))
    examples = {"tests/servers/test_NAME.py"}
    roots = [CHECKOUT, CHECKOUT / "src" / "shoplab", CHECKOUT / "src" / "shoplab" / "servers"]
    missing = {n for n in names - examples if not any((root / n).exists() for root in roots)}
    assert {n for n in missing if not n.startswith(("lab.", "_build/"))} == set()
    assert len(names) > 20


def test_every_make_target_that_is_named_is_there() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):(?!=)", (CHECKOUT / "Makefile").read_text("utf-8")))
    assert set(re.findall(r"`make ([a-z-]+)`", GUIDE)) - targets == set()
