"""Build the book: `make book` runs what has changed, `make draft` (`--draft`) runs no notebook."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from shoplab.claims import Record
from shoplab.locks import exclusive, held
from shoplab.verdicts import Verdict
from tools.execution import BUILD, execute
from tools.running import end_with_make

PATIENCE = 3600.0
"""Seconds to wait for another build."""


def main() -> int:
    """Build, one build at a time, and say where the book is; return the exit status."""
    parser = argparse.ArgumentParser(description="Build the book.")
    parser.add_argument("--draft", action="store_true", help="the pages without any outputs")
    parser.add_argument("--fresh", action="store_true", help="run and write all, changed or not")
    options = parser.parse_args()
    end_with_make()
    BUILD.mkdir(exist_ok=True)
    lock = BUILD / "book.lock"
    if held(lock):
        print("Another build of the book is running here; waiting for it.", flush=True)
    with exclusive(lock, PATIENCE):
        if not options.draft and not execute(list(notebooks()), fresh=options.fresh):
            print("The book was not built: a notebook failed, see above.", file=sys.stderr)
            return 1
        status = write(draft=options.draft, fresh=options.fresh)
    if not options.draft:
        print_ledger(BUILD / "ledger.json")
    return status


def notebooks() -> Iterator[Path]:
    """The notebooks of the book, in its order."""

    def files(part: Any) -> Iterator[str]:
        if isinstance(part, dict) and "file" in part:
            yield part["file"]
        for inner in part.values() if isinstance(part, dict) else part:
            if isinstance(inner, dict | list):
                yield from files(inner)

    toc = yaml.safe_load(Path("_toc.yml").read_text(encoding="utf-8"))
    paths = (Path(f"{name}.ipynb") for name in files(toc))
    return (path for path in paths if path.exists())


def write(*, draft: bool, fresh: bool) -> int:
    """Let jupyter-book write the pages that changed, or with ``fresh`` all; the exit status."""
    # A draft has an output of its own, so that it never stands in for the book.
    output = BUILD / "draft" if draft else Path()
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command: list[str | Path] = [jupyter_book, "build", "-n", "-W", "--keep-going", "-q"]
    if fresh:
        command.append("--all")
    environment = os.environ | {"BOOK_DRAFT": "1" if draft else ""}
    build = subprocess.run([*command, "--path-output", output, "."], env=environment)
    page = (output / "_build" / "html" / "index.html").resolve()
    if build.returncode:
        print("The book was not built: the warnings and errors above say why.", file=sys.stderr)
    else:
        # Hosts that publish a branch leave out what begins with "_", where this file is missing.
        (page.parent / ".nojekyll").touch()
        print(f"\nThe {'draft' if draft else 'book'} is at {page.as_uri()}")
    return build.returncode


def print_ledger(path: Path) -> None:
    """How many records have each verdict, and each claim that was measured in a sentence."""
    if path.exists():
        read = map(Record.read, json.loads(path.read_text(encoding="utf-8")))
        records = [record for record in read if record is not None]
        verdicts = Counter(record.verdict for record in records)
        print(f"\nThe ledger, {path}: {len(records)} records")
        for verdict in Verdict:
            print(f"  {verdicts[verdict]:>3}  {verdict}")
        for record in records:
            print(f"  {record}")


if __name__ == "__main__":
    sys.exit(main())
