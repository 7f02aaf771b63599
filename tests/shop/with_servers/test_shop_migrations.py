"""Migrations: up, down and up again and no row is lost; and to the tables of the code."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

import shop.inventory.storage
import shop.orders.storage
import shop.payment.storage  # noqa: F401 - the tables
from shop import migrating
from shop.database import address, metadata
from shop.settings import Settings

pytestmark = pytest.mark.server

ROWS = (
    "INSERT INTO orders VALUES ('1', 'mary', 'tok_1', 'key', now(), 'placed', 0, '')",
    "INSERT INTO order_lines VALUES ('1', 0, 'lamp', 1, 4900)",
    "INSERT INTO stock VALUES ('lamp', 4900, 10)",
    "INSERT INTO outbox (topic, key, value, headers) VALUES ('t', '1', '{}', '{}')",
)


def test_each_goes_up_down_and_up_again_and_keeps_the_rows(settings: Settings) -> None:
    migrating.downgrade(settings, "base")
    engine = create_engine(address(settings))
    first, *others = reversed(list(scripts(settings).walk_revisions()))
    migrating.upgrade(settings, first.revision)
    with engine.begin() as transaction:
        for row in ROWS:
            transaction.execute(text(row))
    for script in others:
        before = rows_of(engine)
        migrating.upgrade(settings, script.revision)
        migrating.downgrade(settings, str(script.down_revision))
        assert rows_of(engine) == before
        migrating.upgrade(settings, script.revision)
    migrating.downgrade(settings, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrating.upgrade(settings)
    engine.dispose()


def scripts(settings: Settings) -> ScriptDirectory:
    return ScriptDirectory.from_config(migrating.config(settings))


def rows_of(engine: Engine) -> dict[str, list[Any]]:
    """Every row of every table of ours."""
    tables = [t for t in inspect(engine).get_table_names() if t != "alembic_version"]
    with engine.connect() as connection:
        return {
            table: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {table}"))), key=str)
            for table in tables
        }


def test_the_tables_are_those_of_the_code(settings: Settings) -> None:
    migrating.upgrade(settings)
    engine = create_engine(address(settings))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert differences == []


def test_no_migration_locks_a_table_that_is_in_use(settings: Settings) -> None:
    """The first makes the tables, when nobody uses them; squawk looks through the others."""
    sql = io.StringIO()
    with redirect_stdout(sql):
        command.upgrade(migrating.config(settings), "0001:head", sql=True)
    assert objections(sql.getvalue()) == ""


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("renaming-column", "ALTER TABLE orders RENAME COLUMN card TO card_token"),
        ("require-concurrent-index-creation", "CREATE INDEX ON orders (placed_at)"),
        (
            "constraint-missing-not-valid",
            "ALTER TABLE orders ADD CONSTRAINT some CHECK (step >= 0)",
        ),
    ],
)
def test_the_linter_knows_what_harms(rule: str, change: str) -> None:
    assert rule in objections(change)


def objections(sql: str) -> str:
    squawk = Path(sys.executable).with_name("squawk")
    command = [squawk, "--reporter", "gcc"]
    return subprocess.run(command, input=sql, capture_output=True, text=True, timeout=30).stdout
