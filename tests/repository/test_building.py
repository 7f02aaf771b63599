"""What `make book` and `make draft` do around jupyter-book."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from shoplab.locks import exclusive, held
from shoplab.waiting import until
from tools import book

TOC = """
root: book/index
parts:
  - chapters:
      - file: book/01
        sections: [file: notebooks/01-1-one]
  - chapters: [file: notebooks/03-2-two]
"""


class Builds:
    """Stand-ins for the notebooks' runs and for jupyter-book: their calls, and a page."""

    def __init__(self) -> None:
        self.drafts: list[str] = []
        self.ran: list[str] = []
        self.all: list[bool] = []
        self.status = 0
        self.notebooks_pass = True

    def execute(self, notebooks: list[Path], *, fresh: bool) -> bool:
        self.ran.append(" ".join(path.stem for path in notebooks) + (" fresh" if fresh else ""))
        return self.notebooks_pass

    def run(
        self, command: list[str | Path], env: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        self.drafts.append(env["BOOK_DRAFT"])
        self.all.append("--all" in command)
        html = Path(command[command.index("--path-output") + 1], "_build", "html")
        html.mkdir(parents=True, exist_ok=True)
        (html / "index.html").touch()
        return subprocess.CompletedProcess([], self.status)


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builds:
    made = Builds()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["book.py"])
    monkeypatch.setattr(subprocess, "run", made.run)
    monkeypatch.setattr(book, "execute", made.execute)
    Path("_toc.yml").write_text(TOC)
    Path("notebooks").mkdir()
    for name in ("03-2-two", "01-1-one", "09-9-not-in-the-book"):
        Path("notebooks", f"{name}.ipynb").touch()
    return made


def test_the_book_can_be_published_by_a_host_of_branches(builds: Builds) -> None:
    assert book.main() == 0
    assert Path("_build/html/.nojekyll").exists()


def test_the_notebooks_of_the_book_run_in_its_order_and_those_that_changed(
    builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.main()
    monkeypatch.setattr("sys.argv", ["book.py", "--fresh"])
    book.main()
    assert builds.ran == ["01-1-one 03-2-two", "01-1-one 03-2-two fresh"]
    assert builds.all == [False, True]


def test_no_page_is_written_where_a_notebook_fails(
    builds: Builds, capsys: pytest.CaptureFixture[str]
) -> None:
    builds.notebooks_pass = False
    assert book.main() == 1
    assert builds.drafts == []
    assert "a notebook failed" in capsys.readouterr().err


def test_a_draft_is_kept_apart_and_runs_nothing(
    builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK_DRAFT", "1")  # left in a shell, it makes no draft of a book
    book.main()
    monkeypatch.setattr("sys.argv", ["book.py", "--draft"])
    book.main()
    assert builds.drafts == ["", "1"] and len(builds.ran) == 1
    assert Path("_build/draft/_build/html/.nojekyll").exists()


def test_a_build_that_fails_says_so_and_is_not_announced(
    builds: Builds, capsys: pytest.CaptureFixture[str]
) -> None:
    builds.status = 2
    assert book.main() == 2
    said = capsys.readouterr()
    assert "The book was not built" in said.err
    assert "The book is at" not in said.out


def test_a_second_build_waits_for_the_first(
    builds: Builds, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("_build").mkdir()
    lock = Path("_build/book.lock")
    with exclusive(lock, 1):
        second = threading.Thread(target=book.main)
        second.start()
        until(lambda: "Another build of the book is running here" in capsys.readouterr().out)
        assert held(lock)
        assert not builds.drafts
    second.join()
    assert builds.drafts == [""]
