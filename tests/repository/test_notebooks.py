"""The notebooks are clean, and the tool that says so refuses each thing it should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from checkout import CHECKOUT
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks

CONDA = {"name": "conda", "display_name": "Conda", "language": "R"}
EXERCISE = ":::{exercise}\n:label: start-again\n\nStart the shop again.\n:::"
SOLUTION = ":::{solution} start-again\n:class: dropdown\n\nIt keeps its address.\n:::"
TRY = "## Where it stops being true\n\n## Try it"
FOLDED = {"jupyter": {"source_hidden": True}}
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_clean(path: Path) -> None:
    assert list(notebooks.problems(path)) == []


def sample() -> NotebookNode:
    """A small notebook that has everything and nothing wrong."""
    alt = {"mystnb": {"image": {"alt": "A line that falls from the left to the right."}}}
    checked = new_code_cell("print(1)", id="checked", metadata={"tags": [notebooks.CHECKED]})
    checked.outputs = [new_output("stream", name="stdout", text="1\n")]
    return new_notebook(
        cells=[
            new_markdown_cell("# Wait for the answer", id="title"),
            new_markdown_cell(
                "## Question\n\n5 minutes to read, 15 seconds to run.\n\n## Your prediction",
                id="question",
            ),
            new_markdown_cell("## Set up", id="prose-setup"),
            new_code_cell("from shoplab import Lab, figures\n\nlab = Lab('03-1')", id="setup"),
            new_markdown_cell("## Control: no event", id="control"),
            new_code_cell("def slow():\n    time.sleep(1)", id="service"),
            new_markdown_cell("## Treatment", id="treatment"),
            checked,
            new_markdown_cell("## What happened", id="happened"),
            new_code_cell("figures.lag(recording)", id="figure", metadata=alt),
            new_code_cell("lab.claim('rd-client-blocks', control=1, treatment=0)", id="claim"),
            new_markdown_cell(TRY, id="try"),
            new_markdown_cell(f"{EXERCISE}\n\n{SOLUTION}", id="exercise"),
            new_code_cell("shop.restart()", id="solved", metadata=FOLDED),
            new_markdown_cell("## Summary", id="summary"),
            new_code_cell("lab.close()", id="close"),
        ],
    )


def written(folder: Path, notebook: NotebookNode, *, clean: bool = True) -> Path:
    path = folder / "03-1-sample.ipynb"
    text = nbformat.writes(notebook)
    path.write_text(notebooks.normalised(text) if clean else text, encoding="utf-8")
    return path


def cell(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if cell.id == name)


def source(name: str, text: str) -> Callable[[NotebookNode], None]:
    """A change that gives the cell called ``name`` another source."""
    return lambda notebook: cell(notebook, name).update(source=text)


def tag(text: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: cell(notebook, "service").metadata.update(tags=[text])


def test_the_clean_sample_is_accepted(tmp_path: Path) -> None:
    assert list(notebooks.problems(written(tmp_path, sample()))) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (source("title", "Wait for the answer"), "does not begin with its one title"),
        (
            source("prose-setup", "# Another title\n\n## Set up"),
            "does not begin with its one title",
        ),
        (source("title", "# Waiting"), "a title that is not a sentence"),
        (source("question", "## Question\n\n## Your prediction"), "how many minutes"),
        (source("control", "## Treatment"), "no section '## Control'"),
        (source("happened", "## Summary"), "no section '## What happened'"),
        (source("try", "## Try it"), "'## Where it stops being true'"),
        (source("try", f"{TRY}\n\n{{term}}`event`"), "the role 'term'"),
        (source("try", f"{TRY}\n\n```{{sequence}}\n```"), "the directive 'sequence'"),
        (
            source("try", f"{TRY}\n\n::::{{solution-start}} x\n::::"),
            "the directive 'solution-start'",
        ),
        (source("treatment", "## Treatment\n\nSee /home/ann/data."), "names an absolute path"),
        (source("figure", "open('/tmp/x')"), "names an absolute path"),
        (source("figure", "%matplotlib inline"), "is not Python"),
        (source("figure", "\n".join(f"a = {n}" for n in range(11))), "has 11 lines"),
        (source("service", "def f():\n" + "    a()\n" * 25), "has 26 lines"),
        (source("figure", "try:\n    a()\nexcept:\n    b()"), "has a bare except"),
        (source("figure", "time.sleep(1)"), "sleeps"),
        (source("figure", "from time import sleep\n\nsleep(1)"), "sleeps"),
        (
            source("service", "KafkaConsumer(topic, group_id=group).poll(timeout_ms=100)"),
            "polls for less than a second",
        ),
        (source("claim", "lab.claim('rd-nothing')"), "not in claims.yml"),
        (source("claim", "lab.claim(which)"), "not in claims.yml"),
        (source("setup", "lab = Lab('03-2')"), "the number is the file's"),
        (
            source("setup", "import os\n\nimport fastapi\n\nlab = Lab('03-1')"),
            "imports fastapi before it opens its lab",
        ),
        (source("service", "figures.lag(recording)"), "without alternative text"),
        (source("service", "drawn = figures.lag(recording)\ndrawn"), "without alternative text"),
        (source("service", "from shoplab.figures import lag\n\nlag(r)"), "without alternative"),
        (tag(notebooks.CHECKED), "has no stored output"),
        (tag("nbval-skip"), "not one of ours"),
        (tag("raises-exception"), "not one of ours"),
    ],
)
def test_each_problem_is_refused(
    tmp_path: Path, change: Callable[[NotebookNode], None], says: str
) -> None:
    notebook = sample()
    change(notebook)
    found = list(notebooks.problems(written(tmp_path, notebook)))
    assert len(found) == 1, found
    assert says in found[0]


def raw(name: str, **changes: object) -> Callable[[NotebookNode], None]:
    """A change that the normal form would undo."""
    return lambda notebook: cell(notebook, name).update(changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (raw("service", outputs=[new_output("stream", text="x")]), "nothing checks"),
        (raw("service", execution_count=3), "nothing checks"),
        (raw("setup", source="lab = Lab( '03-1' )"), "normal form"),
        (raw("setup", metadata={"collapsed": True}), "normal form"),
        (raw("solved", metadata={}), "normal form"),
        (raw("close", metadata=FOLDED), "normal form"),
        (lambda notebook: notebook.metadata.update(kernelspec=CONDA), "kernel"),
    ],
)
def test_what_the_normal_form_undoes_is_refused_before(
    tmp_path: Path, change: Callable[[NotebookNode], None], says: str
) -> None:
    notebook = sample()
    change(notebook)
    path = written(tmp_path, notebook, clean=False)
    assert says in " ".join(notebooks.problems(path))
    path = written(tmp_path, notebook)
    assert list(notebooks.problems(path)) == []


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (new_output("error", ename="E", evalue="", traceback=[]), "stores an error"),
        (new_output("stream", text="log in /home/ann/x.log"), "with an absolute path"),
    ],
)
def test_checked_outputs_that_do_not_last_are_refused(
    tmp_path: Path, output: NotebookNode, says: str
) -> None:
    notebook = sample()
    cell(notebook, "checked").outputs = [output]
    assert says in " ".join(notebooks.problems(written(tmp_path, notebook)))


def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "03-1-broken.ipynb"
    path.write_text('{"cells": [')
    assert "cannot be read" in " ".join(notebooks.problems(path))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        (f"{EXERCISE}\n\n{SOLUTION}", True),
        (SOLUTION.replace(":::", "::::").replace("It", ":::{admonition} Mind\n:::\n\nIt"), True),
        (EXERCISE, False),
        (f"{SOLUTION}\n\n{EXERCISE}", False),
        (f"{SOLUTION}\n\nNow the next one.", False),
    ],
)
def test_code_after_a_solution_is_folded_and_no_other(text: str, folded: bool) -> None:
    notebook = sample()
    cell(notebook, "exercise").source = text
    clean = nbformat.reads(notebooks.normalised(nbformat.writes(notebook)), as_version=4)
    hidden = {each.id for each in clean.cells if each.metadata.get("jupyter") == FOLDED["jupyter"]}
    assert hidden == ({"solved"} if folded else set())


def test_what_a_solution_prints_is_folded_too_until_a_reader_runs_it() -> None:
    notebook = sample()
    solved = cell(notebook, "solved")
    solved.metadata["tags"] = [notebooks.CHECKED]
    solved.outputs = [new_output("stream", name="stdout", text="started\n")]
    clean = nbformat.reads(notebooks.normalised(nbformat.writes(notebook)), as_version=4)
    hidden = {
        each.id for each in clean.cells if "outputs_hidden" in each.metadata.get("jupyter", ())
    }
    assert hidden == {"solved"}


def test_the_normal_form_is_its_own(tmp_path: Path) -> None:
    once = notebooks.normalised(nbformat.writes(sample()))
    assert notebooks.normalised(once) == once
    assert once.endswith("}\n")


@pytest.mark.server
def test_update_stores_checked_outputs_only(tmp_path: Path) -> None:
    notebook = new_notebook(
        cells=[
            new_code_cell("a = 6\na", id="other"),
            new_code_cell("a * 7", id="checked", metadata={"tags": [notebooks.CHECKED]}),
        ]
    )
    text = notebooks.normalised(notebooks.executed(written(tmp_path, notebook)))
    stored = nbformat.reads(text, as_version=4)
    assert cell(stored, "other").outputs == []
    assert cell(stored, "checked").outputs[0].data["text/plain"] == "42"
    assert cell(stored, "checked").execution_count == 2
