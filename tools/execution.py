"""Run the book's notebooks: several at the same time, and none whose result would be the same.

What a run leaves is kept in jupyter-cache, from which Sphinx takes the outputs (myst-nb's mode
`cache`). The cache's own comparison sees the code of a notebook only, so each run is kept with a
fingerprint of all that it depended on. A notebook that `make test` has run to its end need not run
again for the book either: tools/keeping.py keeps what nbval has seen.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import psutil
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from shoplab.claims import ledger_directory
from shoplab.errors import SetupError
from shoplab.locks import exclusive
from shoplab.machine import machine
from shoplab.servers import postgres, rabbitmq
from shoplab.servers.external import KAFKA_OPTIONS, VARIABLES
from shoplab.servers.kafka.java import find_java
from shoplab.servers.redis import find_binary
from tools.notebooks import client
from tools.running import jobs, runs_alone

BUILD = Path("_build")
CACHE = BUILD / ".jupyter_cache"
"""Where jupyter-book lets myst-nb look."""

PATIENCE = 60.0
"""Seconds to wait until another process has written into the cache."""

GUESS = 20.0
"""Seconds that a notebook takes of which nothing is known yet."""

COLOUR = re.compile(r"\x1b\[[\d;]*m")
"""What IPython puts into a traceback, for a terminal."""

SOURCES = (
    *(f"src/shoplab/**/*.{kind}" for kind in ("py", "yml", "txt", "properties")),
    "requirements.txt",
)
"""What every notebook runs on, beside the servers and the machine."""

SHOP = tuple(f"src/shop/**/*.{kind}" for kind in ("py", "json", "mako"))
OPENS_THE_SHOP = re.compile(r"^\s*(from|import) (shop|shoplab\.reference)\b", re.MULTILINE)
"""The reference application, and how to tell a notebook that runs on it as well."""


@dataclass
class Run:
    """A notebook, what was kept with the last run of its code, and how this run went.

    ``depends_on`` is a fingerprint of all that its result depends on, its own code apart.
    """

    path: Path
    last: dict[str, Any] = field(default_factory=dict)
    depends_on: str = ""
    seconds: float = 0.0
    failure: str = ""

    @property
    def number(self) -> str:
        """What its lab and its records are called, such as 04-10."""
        return "-".join(self.path.stem.split("-")[:2])

    @property
    def alone(self) -> bool:
        """Whether it has to run while no other does."""
        return runs_alone(self.path)

    @property
    def expected(self) -> float:
        """Seconds that it took the last time."""
        return float(self.last.get("execution_seconds", GUESS))

    def __str__(self) -> str:
        """How it went, in one line: '  12 s  03-6-charge-a-card-once'."""
        return f"{'failed' if self.failure else f'{self.seconds:.0f} s':>8}  {self.path.stem}"


Done = Callable[[Run, NotebookNode], None]
"""What to do with each run that ended well, and the notebook with its outputs."""


def execute(notebooks: Sequence[Path], *, fresh: bool = False) -> bool:
    """Bring the cache up to date; whether every notebook ran to its end.

    Each that ran is reported, in the order given. With ``fresh`` all run.
    """
    once = functools.cache(fingerprint)  # most notebooks depend on the same
    runs = [Run(path, last_run(path), once(sources(path))) for path in notebooks]
    stale = [run for run in runs if fresh or run.last.get("fingerprint") != run.depends_on]
    forget_records([run.number for run in runs if run not in stale])
    if stale:
        run_all(stale, keep)
    for run in stale:
        print(run, flush=True)
    if len(stale) < len(runs):
        print(
            f"Unchanged since they ran: {len(runs) - len(stale)} of {len(runs)} notebooks.",
            flush=True,
        )
    for run in stale:
        if run.failure:
            print(f"\n{run.path}\n{run.failure}", file=sys.stderr)
    return not any(run.failure for run in stale)


def forget_records(numbers: Sequence[str]) -> None:
    """Remove the claims' records of all notebooks but those with these ``numbers``."""
    for path in ledger_directory(BUILD).glob("*--*.json"):
        if path.name.partition("--")[0] not in numbers:
            path.unlink()


# -- what a run depends on ------------------------------------------------------------------------


def sources(path: Path) -> tuple[str, ...]:
    """Patterns of the files that the result of the notebook at ``path`` depends on."""
    return (*SOURCES, *SHOP) if _opens_the_shop(path) else SOURCES


def fingerprint(patterns: Sequence[str]) -> str:
    """A fingerprint of the files of these ``patterns``, the servers and the machine."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in Path().glob(pattern)):
        digest.update(f"{path} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    digest.update(repr([machine(), list(servers())]).encode())
    return digest.hexdigest()


def _opens_the_shop(path: Path) -> bool:
    cells = nbformat.read(path, as_version=4).cells
    return any(OPENS_THE_SHOP.search(c.source) for c in cells if c.cell_type == "code")


def servers() -> Iterator[str]:
    """The servers of this machine by their versions, and those named by variables."""
    for name in (*VARIABLES.values(), *KAFKA_OPTIONS):
        if value := os.environ.get(name):
            yield f"{name}={value}"
    answers: list[Callable[[], object]] = [find_java, find_binary, postgres.version]
    if rabbitmq.installed():
        answers.append(rabbitmq.version)
    for answer in answers:
        try:
            yield str(answer())
        except SetupError as error:  # a notebook that needs it will say so
            yield error.what


def last_run(path: Path) -> dict[str, Any]:
    """What was kept with the last run of this very code; empty if that has to run again."""
    cache = get_cache(CACHE)
    # A build that was killed may have left a record without its notebook, or half of that.
    with suppress(KeyError, nbformat.reader.NotJSONError):
        record = cache.match_cache_notebook(nbformat.read(path, as_version=4))
        cache.get_cache_bundle(record.pk)
        kept = dict(record.data)
        if all((ledger_directory(BUILD) / name).is_file() for name in kept.get("records", [])):
            return kept
    return {}


# -- the runs -------------------------------------------------------------------------------------


def run_all(runs: list[Run], done: Done) -> None:
    """Run as many as there is room for, the longest first; then those that want to be alone.

    A failure is kept in its ``Run``, and the others go on.
    """
    several = jobs()
    together = sorted((run for run in runs if not run.alone), key=lambda run: -run.expected)
    print(f"To run: {len(runs)} of the notebooks, {several} at a time.", flush=True)
    with _Progress(runs) as progress:
        _in_threads(together, several, done, progress)
        _in_threads([run for run in runs if run.alone], 1, done, progress)


def _in_threads(runs: list[Run], several: int, done: Done, progress: _Progress) -> None:
    with ThreadPoolExecutor(several) as pool:
        futures = [pool.submit(_run, run, done, progress) for run in runs]
        try:
            while wait(futures, timeout=1).not_done:
                progress.show()
        except BaseException:  # an interrupt: no notebook starts any more, and no kernel goes on
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in futures):
                for kernel in psutil.Process().children():
                    kernel.kill()
                wait(futures, timeout=0.2)
            raise
        for future in futures:
            future.result()


def _run(run: Run, done: Done, progress: _Progress) -> None:
    notebook = nbformat.read(run.path, as_version=4)
    progress.begin(run)
    began = time.monotonic()
    try:
        client(run.path, notebook).execute()
    except (CellControlSignal, DeadKernelError) as error:  # an error in a cell, or no end of it
        run.failure = COLOUR.sub("", str(error)).strip()
    run.seconds = time.monotonic() - began
    progress.end(run)
    if not run.failure:
        done(run, notebook)


def keep(run: Run, notebook: NotebookNode, ledger: Path | None = None) -> None:
    """Keep the outputs of a run that ended well, and with them all that it depended on.

    ``ledger`` is where the records of its claims belong, if they were written elsewhere.
    """
    written = ledger_directory(BUILD)
    records = list(written.glob(f"{run.number}--*.json"))
    facts = {
        "fingerprint": run.depends_on,
        "execution_seconds": run.seconds,
        "measured_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "records": [path.name for path in records],
    }
    uri = str(run.path.absolute())
    BUILD.mkdir(exist_ok=True)
    with exclusive(BUILD / "cache.lock", PATIENCE):
        cache = get_cache(CACHE)
        # The last run goes first: whoever is killed in between leaves none, and not a half.
        for known in cache.list_cache_records():
            if known.uri == uri:
                with suppress(KeyError):
                    cache.remove_cache(known.pk)
        if ledger is not None and ledger.absolute() != written.absolute():
            ledger.mkdir(exist_ok=True)
            for old in ledger.glob(f"{run.number}--*.json"):
                old.unlink()
            for record in records:
                shutil.copy(record, ledger)
        _, key = cache.create_hashed_notebook(notebook)
        shutil.rmtree(CACHE / "executed" / key, ignore_errors=True)  # of a build that was killed
        cache.cache_notebook_bundle(
            CacheBundleIn(notebook, uri, data=facts), check_validity=False, overwrite=True
        )


class _Progress:
    """A bar for whoever looks: what is done, what runs, and how long the rest will take."""

    def __init__(self, runs: list[Run]) -> None:
        self._of = len(runs)
        self._done = 0
        self._running: list[str] = []
        self._lock = threading.Lock()
        self._bar = tqdm(
            total=sum(run.expected for run in runs),
            bar_format="{desc} |{bar:20}| {elapsed}, {remaining} left",
            disable=not sys.stderr.isatty(),
            leave=False,
        )

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def begin(self, run: Run) -> None:
        with self._lock:
            self._running.append(run.number)

    def end(self, run: Run) -> None:
        with self._lock:
            self._running.remove(run.number)
            self._done += 1
            self._bar.update(run.expected)

    def show(self) -> None:
        with self._lock:
            running = ", ".join(self._running)
            self._bar.set_description_str(f"{self._done} of {self._of} done, running {running}")
