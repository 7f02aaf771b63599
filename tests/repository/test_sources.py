"""What the repository holds: nothing of one machine, nothing open to the network, nothing large."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import CHECKOUT

LARGEST = 700_000  # bytes; the lock with its hashes is the largest text

#: Assembled, so that this file passes its own test.
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "repo1" + ".maven",
    "repo.maven" + ".apache",
    "index" + "-url =",
    "find" + "-links",
]
OPEN_ADDRESS = ".".join("0" * 4)
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(home|Users|root|work)/\w")
UNFINISHED = re.compile(r"\bTO" + r"DO\b|\bFIX" + r"ME\b|coming " + r"soon|lorem " + r"ipsum", re.I)


def tracked() -> list[Path]:
    """Every file in git."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return [CHECKOUT / name for name in listed.stdout.split("\0") if name]


def texts() -> Iterator[tuple[str, str]]:
    """Path and text of every file in git that is text."""
    for path in tracked():
        content = path.read_bytes() if path.exists() else b""
        if b"\0" not in content:
            yield path.relative_to(CHECKOUT).as_posix(), content.decode("utf-8")


def naming(pattern: str | re.Pattern[str]) -> list[str]:
    """The lines of tracked text that match, as path:number."""
    if isinstance(pattern, str):
        pattern = re.compile(re.escape(pattern))
    return [
        f"{path}:{number}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("host", REGISTRIES)
def test_no_package_registry_is_named(host: str) -> None:
    assert naming(host) == []


def test_no_path_of_one_machine_is_named() -> None:
    # the notebooks' hygiene tests hold such paths as samples of what is refused
    found = [line for line in naming(MACHINE_PATH) if not line.startswith("tests/repository/")]
    assert found == []
    assert naming(str(CHECKOUT)) == []


def test_nothing_listens_beyond_this_machine() -> None:
    # within a container it has to; what of it is published, compose says and its own test looks at
    inside = ("docker-compose.yml:", "src/shop/Dockerfile:", "tests/shop/without_servers/")
    assert [line for line in naming(OPEN_ADDRESS) if not line.startswith(inside)] == []


def test_nothing_is_left_unfinished() -> None:
    assert naming(UNFINISHED) == []


def test_no_file_is_large() -> None:
    sizes = {path.name: path.stat().st_size for path in tracked() if path.exists()}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


def test_no_build_product_is_tracked() -> None:
    names = [path.relative_to(CHECKOUT).parts for path in tracked()]
    products = {"_build", ".venv", "__pycache__", ".ipynb_checkpoints"}
    assert [parts for parts in names if products & set(parts)] == []


def git(folder: Path, *arguments: str | Path) -> None:
    """Run git in a folder and for it alone, whatever a hook or the user's settings say."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    nothing = dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull)
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
    command = ["git", *who, *arguments]
    subprocess.run(command, cwd=folder, env=own | nothing, check=True, capture_output=True)


def text_of(path: Path) -> bytes:
    """What is in a file; nothing, if git takes it for binary and leaves it as it is."""
    content = path.read_bytes()
    return b"" if b"\0" in content else content


def test_lines_end_in_lf_whatever_the_client_of_git_is_set_to(tmp_path: Path) -> None:
    """Git for Windows sets core.autocrlf, and sh, in WSL say, takes no line that ends in CR."""
    sources, clone = tmp_path / "sources", tmp_path / "clone"
    for path in filter(Path.exists, tracked()):  # as they are, committed or not
        copy = sources / path.relative_to(CHECKOUT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    git(tmp_path, "init", "--quiet", sources)
    git(sources, "add", "--all")
    git(sources, "commit", "--quiet", "--message", "all")
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", sources, clone)
    files = [path for path in clone.rglob("*") if path.is_file() and ".git" not in path.parts]
    now = [path for path in tracked() if path.exists()]
    assert len(files) == len(now)
    assert [path for path in (*files, *now) if b"\r" in text_of(path)] == []
    stub = tmp_path / "python"
    done = subprocess.run(
        ["sh", "tools/setup"], cwd=clone, env={"PYTHON": str(stub)}, capture_output=True, text=True
    )
    assert done.stderr.startswith("No Python 3.11 or newer runs here")


def test_both_licences_are_there() -> None:
    code = (CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    prose = (CHECKOUT / "LICENSE-text.md").read_text(encoding="utf-8")
    assert code.startswith("BSD 3-Clause License")
    assert "CC-BY-4.0" in prose
