"""Build the book: `make book` runs every notebook, `make draft` (`--draft`) runs none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from shoplab.claims import Record
from shoplab.locks import exclusive, held
from shoplab.verdicts import Verdict

BUILD = Path("_build")

PATIENCE = 3600.0
"""Seconds to wait for another build."""


def main() -> int:
    """Build, one build at a time, and say where the book is; return the exit status."""
    draft = sys.argv[1:] == ["--draft"]
    # A draft has an output of its own, so that it never stands in for the book.
    output = BUILD / "draft" if draft else Path()
    environment = os.environ | {"BOOK_DRAFT": "1" if draft else ""}
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command: list[str | Path] = [jupyter_book, "build", "-n", "-W", "--keep-going"]
    if not draft:  # every notebook runs, also one that is unchanged while src/ is not
        command.append("--all")
    BUILD.mkdir(exist_ok=True)
    lock = BUILD / "book.lock"
    if held(lock):
        print("Another build of the book is running here; waiting for it.", flush=True)
    with exclusive(lock, PATIENCE):
        build = subprocess.run([*command, "--path-output", output, "."], env=environment)
    page = (output / "_build" / "html" / "index.html").resolve()
    if build.returncode:
        print("The book was not built: the warnings and errors above say why.", file=sys.stderr)
    else:
        # Hosts that publish a branch leave out what begins with "_", where this file is missing.
        (page.parent / ".nojekyll").touch()
        print(f"\nThe {'draft' if draft else 'book'} is at {page.as_uri()}")
    if not draft:
        print_ledger(BUILD / "ledger.json")
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
