"""Markup that JupyterLab shows as well becomes in the book what its readers know."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.application import Sphinx
from sphinx.errors import SphinxWarning
from sphinx.util.docutils import docutils_namespace

GLOSSARY = """# Glossary

```{glossary}
commit (of an offset)
: A note of how far a group
  has read.

SIGKILL
: The end.
```
"""
QUESTION = ":::{exercise}\n:label: who-notices\nWho notices?\n:::"
ANSWER = ":::{solution} who-notices\n:class: dropdown\n\nNobody does.\n:::"


def built(folder: Path, *texts: str) -> BeautifulSoup:
    """The page of a notebook with these texts, a code cell after each, beside a glossary."""
    cells = []
    for number, text in enumerate(texts):
        cells += [new_markdown_cell(text), new_code_cell(f"cell_{number} = 1")]
    notebook = new_notebook(cells=[new_markdown_cell("# Crash"), *cells])
    notebook.metadata = {"language_info": {"name": "python", "pygments_lexer": "python"}}
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "crash.ipynb")
    (folder / "glossary.md").write_text(GLOSSARY)
    contents = "```{toctree}\nglossary\nnotebooks/crash\n```"
    (folder / "index.md").write_text(f"# Book\n\n{contents}\n")
    settings = {
        "extensions": ["myst_nb", "sphinx_exercise", "shared_markup"],
        "nb_execution_mode": "off",
        "myst_enable_extensions": ["colon_fence"],
    }
    with docutils_namespace():
        directories = [str(folder / name) for name in (".", "out", "trees")]
        app = Sphinx(
            directories[0],
            None,
            *directories[1:],
            buildername="html",
            confoverrides=settings,
            status=None,
            warning=None,
            warningiserror=True,
        )
        app.build()
    page = folder / "out" / "notebooks" / "crash.html"
    return BeautifulSoup(page.read_text("utf-8"), "html.parser")


def test_the_code_after_a_solution_is_in_it_before_its_text(tmp_path: Path) -> None:
    page = built(tmp_path, "Before.", f"{QUESTION}\n\n{ANSWER}", "After.")
    (solution,) = page.select(".solution.dropdown")
    text = solution.get_text()
    assert "cell_1" in text
    assert text.index("cell_1") < text.index("Nobody does.")
    assert "cell_0" not in text and "cell_2" not in text and "After" not in text


def test_code_after_another_text_stays_outside(tmp_path: Path) -> None:
    page = built(tmp_path, f"{QUESTION}\n\n{ANSWER}\n\nAnd now:")
    (solution,) = page.select(".solution.dropdown")
    assert "cell_0" not in solution.get_text()
    assert "cell_0" in page.get_text()


def test_a_link_finds_a_term_of_the_glossary(tmp_path: Path) -> None:
    terms = ["term-commit-of-an-offset", "term-SIGKILL"]
    page = built(tmp_path, *(f"It [ends](../glossary.md#{term})." for term in terms))
    links = [link["href"] for link in page.select("p > a.reference")]
    assert links == [f"../glossary.html#{term}" for term in terms]
    glossary = BeautifulSoup((tmp_path / "out" / "glossary.html").read_text("utf-8"), "html.parser")
    assert [term["id"] for term in glossary.select("dl.glossary > dt")] == terms
    assert [
        " ".join(meaning.get_text().split()) for meaning in glossary.select("dl.glossary > dd")
    ] == [
        "A note of how far a group has read.",
        "The end.",
    ]


def test_a_link_to_a_term_that_is_not_there_fails_the_build(tmp_path: Path) -> None:
    with pytest.raises(SphinxWarning, match="term-nothing"):
        built(tmp_path, "Read on [nothing](../glossary.md#term-nothing).")
