"""A book of a few pages, built in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace


def build_book(folder: Path, **options: Any) -> None:
    """Build what is in ``folder`` into its ``out``; a warning is an error."""
    with docutils_namespace():
        Sphinx(
            str(folder),
            None,
            str(folder / "out"),
            str(folder / "out" / "trees"),
            buildername="html",
            confoverrides=options,
            status=None,
            warningiserror=True,
        ).build()


def built_page(folder: Path, name: str) -> BeautifulSoup:
    """A page of it: ``book/page``, say."""
    return BeautifulSoup((folder / "out" / f"{name}.html").read_text("utf-8"), "html.parser")
