"""A page shows a figure that a notebook drew in this build, with the words of its cell."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from small_book import build_book, built_page
from sphinx.errors import SphinxWarning

ABOUT = {"figure": {"caption": "Orders waiting."}, "image": {"alt": "It rises and falls."}}
ONE, TWO = (
    b64encode(bytes.fromhex("89504e470d0a1a0a") + mark).decode() for mark in (b"one", b"two")
)


def write(folder: Path) -> None:
    """A book of a page and a notebook, whose second cell draws."""
    cells = [new_code_cell("1", id="other"), new_markdown_cell("# Crash", id="title")]
    cells.append(new_code_cell("draw()", id="figure", metadata={"mystnb": ABOUT}))
    (folder / "notebooks").mkdir()
    notebook = new_notebook(
        cells=[cells[1], cells[0], cells[2]],
        metadata={"language_info": {"name": "python", "pygments_lexer": "python"}},
    )
    nbformat.write(notebook, folder / "notebooks" / "04-4.ipynb")


def keep(folder: Path, drawn: str | None) -> None:
    """What a run of the notebook leaves."""
    path = folder / "notebooks" / "04-4.ipynb"
    notebook = nbformat.read(path, as_version=4)
    if drawn:
        size = {"image/png": {"width": 700, "height": 398}}
        data = {"image/png": drawn}
        output = new_output("display_data", data=data, metadata=size)
        notebook.cells[-1].outputs = [output]
    bundle = CacheBundleIn(notebook, str(path), data={"measured_on": "today", "machine": "one"})
    get_cache(folder / "cache").cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def build(
    folder: Path, figure: str = "notebooks/04-4 figure", mode: str = "cache"
) -> BeautifulSoup:
    (folder / "index.md").write_text(
        "# Book\n\n```{toctree}\nbook/page\nnotebooks/04-4\n```\n", encoding="utf-8"
    )
    (folder / "book").mkdir(exist_ok=True)
    page = folder / "book" / "page.md"
    text = f"# Page\n\n```measured-figure\n{figure}\n```\n"
    if not page.exists() or page.read_text() != text:
        page.write_text(text)
    options = {
        "extensions": ["myst_nb", "runs", "measured_figure"],
        "nb_execution_mode": mode,
        "nb_execution_cache_path": str(folder / "cache"),
        "myst_fence_as_directive": ["measured-figure"],
        "exclude_patterns": ["out", "cache", "_build", "jupyter_execute"],
    }
    build_book(folder, **options)
    return built_page(folder, "book/page")


def drawn(page: BeautifulSoup, folder: Path) -> bytes:
    return (folder / "out" / "book" / str(page.figure.img["src"])).read_bytes()


def test_a_page_shows_the_figure_of_the_last_run_with_the_cells_words(tmp_path: Path) -> None:
    write(tmp_path)
    keep(tmp_path, ONE)
    page = build(tmp_path)
    assert page.figure.img["alt"] == ABOUT["image"]["alt"]
    assert "width: 700px" in str(page.figure.img["style"])
    assert "Orders waiting. From the experiment." in page.figcaption.text
    assert page.figcaption.a["href"] == "../notebooks/04-4.html"
    assert drawn(page, tmp_path).endswith(b"one")
    keep(tmp_path, TWO)
    assert drawn(build(tmp_path), tmp_path).endswith(b"two")


def test_a_draft_says_where_the_figure_comes_from(tmp_path: Path) -> None:
    write(tmp_path)
    page = build(tmp_path, mode="off")
    assert page.figure is None
    assert "A build that runs the notebooks shows a figure here" in page.text


@pytest.mark.parametrize(
    ("figure", "complaint"),
    [
        ("notebooks/04-4", "expected a notebook and the id of a cell"),
        ("notebooks/04-5 figure", "'notebooks/04-5' is no page"),
        ("notebooks/04-4 nobody", "no cell 'nobody' that draws"),
        ("notebooks/04-4 other", "no cell 'other' that draws"),
        ("notebooks/04-4 figure", "'figure' of notebooks/04-4 has drawn nothing"),
    ],
)
def test_a_figure_that_is_not_there_stops_the_build(
    tmp_path: Path, figure: str, complaint: str
) -> None:
    write(tmp_path)
    keep(tmp_path, None)
    with pytest.raises(SphinxWarning, match=complaint):
        build(tmp_path, figure)
