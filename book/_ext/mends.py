"""What the stock theme gets wrong on every page and no template can repair; and the draft build.

Each repair names its report upstream: where that is closed and released, the repair can go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment


def switch_execution_off(app: Sphinx, config: Config) -> None:
    """With BOOK_DRAFT set, no notebook runs: the pages in seconds, for whoever edits prose."""
    if os.environ.get("BOOK_DRAFT"):
        config.nb_execution_mode = "off"


def keep_scripts_once(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Drop the repeated inline scripts, and those of the live code this book does not offer.

    Sphinx 7 hands an inline script over twice, once with the file name None and once with the
    empty one; a `const` in it then raises 'already declared' on every page. Repaired in later ones:
    https://github.com/sphinx-doc/sphinx/pull/13402
    """
    if "script_files" in context:
        context["script_files"] = list(_scripts_once(context["script_files"]))


def _scripts_once(scripts: list[Any]) -> Iterator[Any]:
    seen = set()
    for script in scripts:
        filename = getattr(script, "filename", None) or (script if isinstance(script, str) else "")
        attributes = getattr(script, "attributes", {})
        body = attributes.get("body") or ""
        if (filename, body) in seen or "thebe" in f"{filename} {body}".lower():
            continue
        seen.add((filename, body))
        yield script


def name_the_arrows(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Give the arrow that folds a chapter's sections a name to be heard: it has no text.

    It is a `summary` since https://github.com/pydata/pydata-sphinx-theme/pull/1582; we found no
    report that its name is missing.
    """
    generate = context.get("generate_toctree_html")
    if generate is None:
        return

    def generate_named(*args: Any, **kwargs: Any) -> str:
        soup = BeautifulSoup(str(generate(*args, **kwargs)), "html.parser")
        for chapter in soup.select("li:has(> details)"):
            link, arrow = chapter.select("a")[0], chapter.select("summary")[0]
            arrow["aria-label"] = f"Sections of {link.get_text(strip=True)}"
        return str(soup)

    context["generate_toctree_html"] = generate_named


def number_by_page(app: Sphinx, env: BuildEnvironment) -> None:
    """Figures and exercises count from 1 on each page, not through the whole book.

    Asked for in https://github.com/sphinx-doc/sphinx/issues/7135, and for exercises in
    https://github.com/executablebooks/sphinx-exercise/issues/18
    """
    for numbers in env.toc_fignumbers.values():
        for ids in numbers.values():
            ids.update({name: (place,) for place, name in enumerate(ids, start=1)})


def drop_repeated_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """sphinx-exercise 1.2.1 gives the contents of every exercise of a page the same id.

    We found no report of it; the ids stand in its `directive.py` and `transforms.py`.
    """
    for section in doctree.findall(nodes.section):
        if section["ids"] in (["exercise-content"], ["solution-content"]):
            section["ids"] = []


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.connect("config-inited", switch_execution_off, priority=100)
    app.connect("env-check-consistency", number_by_page)
    app.connect("doctree-resolved", drop_repeated_ids)
    app.connect("html-page-context", name_the_arrows, priority=900)
    app.connect("html-page-context", keep_scripts_once, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
