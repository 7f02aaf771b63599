"""A page that ran again is written again, and says when and on what machine it was measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import runs
from docutils import nodes
from docutils.utils import new_document
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat.v4 import new_code_cell, new_notebook

FACTS = {"measured_on": "2026-11-26", "machine": "2 cores, 8 GB, Linux x86_64, Python 3.11.7"}


def keep(folder: Path, path: Path) -> None:
    """What `tools/execution.py` does after each run."""
    bundle = CacheBundleIn(nbformat.read(path, as_version=4), str(path), data=FACTS)
    get_cache(folder).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


@pytest.fixture
def app(tmp_path: Path) -> Any:
    paths = {}
    for name in ("notebooks/one", "notebooks/two"):
        paths[name] = tmp_path / f"{Path(name).name}.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell(f"print({name!r})")]), paths[name])
        keep(tmp_path / "cache", paths[name])
    paths["book/index"] = tmp_path / "index.md"
    env = SimpleNamespace(
        found_docs=set(paths),
        metadata=defaultdict(dict),
        doc2path=paths.__getitem__,
        docname="",
        mystnb_config=SimpleNamespace(execution_cache_path=str(tmp_path / "cache")),
    )
    return SimpleNamespace(config=SimpleNamespace(nb_execution_mode="cache"), env=env)


def read(app: Any, name: str) -> str:
    """Read a page as Sphinx does; what it then says at its end."""
    document = new_document("")
    document += nodes.section("", nodes.title("", "Title"))
    app.env.docname = name
    runs.say_where(app, document)
    return str(document[0][-1].astext())


def again(app: Any) -> list[str]:
    return sorted(runs.ran_again(app, app.env, set(), set(), set()))


def test_a_page_says_when_and_on_what_machine_it_was_measured(app: Any) -> None:
    assert read(app, "notebooks/one") == f"Measured on 2026-11-26: {FACTS['machine']}."
    assert read(app, "book/index") == "Title"
    app.config.nb_execution_mode = "off"
    assert read(app, "notebooks/one") == "Title"


def test_a_page_is_written_again_when_its_notebook_ran_again(app: Any, tmp_path: Path) -> None:
    assert again(app) == ["notebooks/one", "notebooks/two"]
    for name in app.env.found_docs:
        read(app, name)
    assert again(app) == []
    keep(tmp_path / "cache", app.env.doc2path("notebooks/two"))
    assert again(app) == ["notebooks/two"]


def test_a_change_of_the_books_own_code_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "one.py").write_text("1")
    monkeypatch.setattr(runs, "EXTENSIONS", tmp_path)
    before = runs.fingerprint()
    assert runs.fingerprint() == before
    (tmp_path / "one.py").write_text("2")
    assert runs.fingerprint() != before
