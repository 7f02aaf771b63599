"""The three shops of chapter 7: their business, and that notebook 07-1 shows the code that runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nbformat
import pytest
from checkout import CHECKOUT
from sqlalchemy import Engine, create_engine, text

from shoplab import Lab
from shoplab.shops import business, styles
from shoplab.shops.opening import CALLED, DUTIES, EVENTS, STYLES

ORDER = {"number": "one", "item": "rare", "card": "good", "born": 1985}
WRITTEN_OUT = (
    *("by_event", "synchronous", "asynchronous", "charge_soon", "note", "hybrid", "relay"),
)


class Bare(ast.NodeTransformer):
    """Leaves out what a notebook's cell goes without: types and docstrings."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        if ast.get_docstring(node):
            del node.body[0]
        node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node


def functions(source: str) -> dict[str, str]:
    """The functions of a source by their names, each as its bare tree."""
    found = [each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef)]
    return {each.name: ast.dump(Bare().visit(each)) for each in found}


def test_the_notebook_writes_the_functions_out_that_the_package_has() -> None:
    (path,) = (CHECKOUT / "notebooks").glob("07-1-*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    shown = functions("\n\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    ours = functions(Path(styles.__file__).read_text(encoding="utf-8"))
    assert {*WRITTEN_OUT} < {*ours}
    for name in WRITTEN_OUT:
        assert shown[name] == ours[name], name


def test_every_event_has_somebody_whom_it_concerns_and_every_step_exists() -> None:
    names = {*business.steps("sqlite://", "redis://127.0.0.1", {"mail": "", "version": ""})}
    for style in STYLES:
        duties = [duty for worker in DUTIES[style].values() for duty in worker.items()]
        assert {step for _, step in duties} <= names
        assert {event for event, _ in duties} <= {*EVENTS}
    heard = {event for worker in DUTIES["asynchronous"].values() for event in worker}
    assert heard == {*EVENTS}
    assert CALLED["asynchronous"] == ()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("07-1", traced=False) as lab:
        yield lab


@pytest.fixture
def database(lab: Lab) -> Iterator[Engine]:
    database = create_engine(lab.database_url)
    with database.begin() as transaction:
        transaction.execute(text(business.TABLES))
    yield database
    with database.begin() as transaction:
        for table in ("orders", "stock", "reservations", "sales", "outbox"):
            transaction.execute(text(f"DROP TABLE {table}"))
    database.dispose()


def column(database: Engine, query: str) -> list[object]:
    with database.connect() as connection:
        return list(connection.scalars(text(query)))


def test_a_piece_is_taken_once_and_given_back_once(database: Engine) -> None:
    pieces = partial(column, database, "SELECT pieces FROM stock WHERE item = 'rare'")
    assert [business.reserve(database, ORDER) for _ in range(2)] == ["reserved"] * 2
    assert pieces() == [2]
    for _ in range(2):
        business.change(database, business.GIVE, ORDER)
    assert pieces() == [3]


def test_what_is_sold_out_is_not_sold(database: Engine) -> None:
    said = [business.reserve(database, ORDER | {"number": str(n)}) for n in range(4)]
    assert said == ["reserved"] * 3 + ["sold out"]
    assert len(column(database, "SELECT number FROM reservations")) == 3


def test_the_first_word_is_the_last(database: Engine) -> None:
    business.change(database, business.DECIDE, ORDER, state="confirmed")
    business.change(database, business.DECIDE, ORDER, state="refused")
    business.change(database, business.RECEIVE, ORDER)
    assert column(database, "SELECT state FROM orders") == ["confirmed"]


def test_analytics_fails_without_a_year_until_it_is_fixed(database: Engine) -> None:
    unknown = ORDER | {"born": None}
    with pytest.raises(TypeError):
        business.count_sale(database, lambda: "first", unknown)
    for _ in range(2):
        business.count_sale(database, lambda: "fixed", unknown)
    business.count_sale(database, lambda: "first", ORDER | {"number": "two"})
    assert column(database, "SELECT decade FROM sales ORDER BY number") == [None, 1980]
