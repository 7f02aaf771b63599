"""The notebooks' runs: a page that ran again is written again, and says what its numbers are from.

`tools/execution.py` has run the notebooks before Sphinx starts, and has kept each run in
jupyter-cache, with the day and the machine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

EXTENSIONS = Path(__file__).parent
TEMPLATES = EXTENSIONS.parent / "_templates"


def run_of(app: Sphinx, docname: str) -> dict[str, Any]:
    """What was kept with the run that a page shows; empty for a page without one."""
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".ipynb" or app.config.nb_execution_mode != "cache":
        return {}
    cache = get_cache(app.env.mystnb_config.execution_cache_path)  # type: ignore[attr-defined]
    try:
        record = cache.match_cache_notebook(nbformat.read(path, as_version=4))
    except KeyError:
        return {}
    return {**record.data, "id": f"{record.pk} {record.created}"}


def ran_again(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """The pages that show another run than the last one; Sphinx sees only changed files."""
    return [
        name
        for name in env.found_docs - added - changed
        if run_of(app, name).get("id") != env.metadata[name].get("run")
    ]


def say_where(app: Sphinx, doctree: nodes.document) -> None:
    """Remember which run a page shows, and say when and on what machine it was."""
    run = run_of(app, app.env.docname)
    if run:
        app.env.metadata[app.env.docname]["run"] = run["id"]
        text = f"Measured on {run['measured_on']}: {run['machine']}."
        (page, *_) = doctree.findall(nodes.section)
        page += nodes.paragraph("", text, classes=["measured-on"])


def fingerprint() -> str:
    """A change of these files changes every page, and Sphinx does not look at them."""
    files = sorted([*EXTENSIONS.glob("*.py"), *TEMPLATES.rglob("*.html")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_config_value("extensions_fingerprint", fingerprint(), "env")
    app.connect("env-get-outdated", ran_again)
    app.connect("doctree-read", say_where)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
