"""The ``measured-figure`` directive: a figure of this build's run of a notebook, on another page.

    ```measured-figure
    notebooks/04-3-absorb-ten-thousand-orders figure-spike
    ```

names the notebook and the cell that draws it. Caption and alternative text are the cell's own, so
that nothing is said of a figure in two places. A notebook or a cell that does not exist, and a cell
without a figure, is an error of the build. A draft has run nothing, and shows a sentence instead.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import nbformat
import runs
from docutils import nodes
from jupyter_cache import get_cache
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

FIGURES = Path("_build", "measured")
"""Where the figures are kept for Sphinx, which copies what lies in the source's folder."""


class MeasuredFigureDirective(SphinxDirective):
    """Puts the figure where it stands."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The figure with its caption, which ends in a link to the experiment."""
        try:
            page, name = " ".join(self.content).split()
        except ValueError:
            raise self.error("expected a notebook and the id of a cell that draws") from None
        if page not in self.env.found_docs:
            raise self.error(f"'{page}' is no page of the book")
        notebook = nbformat.read(self.env.doc2path(page), as_version=4)
        cell = _cell(notebook, name)
        if cell is None or "mystnb" not in cell.metadata:
            raise self.error(f"{page} has no cell '{name}' that draws a figure with a caption")
        ran = runs.run_of(self.env.app, page)
        self.env.metadata[self.env.docname].setdefault("shows", {})[page] = ran.get("id")
        link = nodes.reference("", "the experiment", internal=True, refuri=_uri(self.env, page))
        if not ran:
            text = "A build that runs the notebooks shows a figure here, from "
            return [nodes.paragraph("", text, link, nodes.Text("."))]
        picture = _picture(self.env, notebook, name)
        if picture is None:
            raise self.error(f"cell '{name}' of {page} has drawn nothing")
        about = cell.metadata["mystnb"]
        path, size = picture
        image = nodes.image("", uri=f"/{path.as_posix()}", alt=about["image"]["alt"], **size)
        caption = nodes.caption("", f"{about['figure']['caption']} From ", link, nodes.Text("."))
        return [nodes.figure("", image, caption, classes=["measured"])]


def _cell(notebook: NotebookNode, name: str) -> NotebookNode | None:
    return next((cell for cell in notebook.cells if cell.id == name), None)


def _uri(env: BuildEnvironment, page: str) -> str:
    return str(env.app.builder.get_relative_uri(env.docname, page))


def _picture(
    env: BuildEnvironment, notebook: NotebookNode, name: str
) -> tuple[Path, dict[str, str]] | None:
    """The file with what the cell drew, from the source's folder, and its size in the page."""
    cache = get_cache(env.mystnb_config.execution_cache_path)  # type: ignore[attr-defined]
    kept = cache.get_cache_bundle(cache.match_cache_notebook(notebook).pk).nb
    # The cache has the code cells only, and matches a notebook by their code, not by their names.
    code = [cell.id for cell in notebook.cells if cell.cell_type == "code"]
    for output in kept.cells[code.index(name)].outputs:
        if data := output.get("data", {}).get("image/png"):
            drawn = b64decode(data)
            path = FIGURES / f"{hashlib.sha256(drawn).hexdigest()}.png"
            (Path(env.srcdir) / FIGURES).mkdir(parents=True, exist_ok=True)
            (Path(env.srcdir) / path).write_bytes(drawn)
            size = output.get("metadata", {}).get("image/png", {})
            return path, {key: f"{size[key]}px" for key in ("width", "height") if key in size}
    return None


def ran_again(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """The pages with a figure of a run that is no longer the last."""
    shown: dict[str, Any] = {name: env.metadata[name].get("shows", {}) for name in env.found_docs}
    return [
        name
        for name, figures in shown.items()
        if any(runs.run_of(app, page).get("id") != run for page, run in figures.items())
    ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_directive("measured-figure", MeasuredFigureDirective)
    app.connect("env-get-outdated", ran_again)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
