"""Migrations: up, down and up again with rows in the tables, and to the tables of the code."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

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


def test_each_goes_up_down_and_up_again_with_rows_in_the_tables(settings: Settings) -> None:
    engine = create_engine(address(settings))
    script = ScriptDirectory.from_config(migrating.config(settings))
    for revision in reversed(list(script.walk_revisions())):
        migrating.upgrade(settings, revision.revision)
        if revision.revision == script.get_heads()[0]:
            with engine.begin() as transaction:
                for row in ROWS:
                    transaction.execute(text(row))
        migrating.downgrade(settings, revision.down_revision or "base")
        migrating.upgrade(settings, revision.revision)
    migrating.downgrade(settings, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrating.upgrade(settings)
    engine.dispose()


def test_the_tables_are_those_of_the_code(settings: Settings) -> None:
    migrating.upgrade(settings)
    engine = create_engine(address(settings))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert differences == []


def test_no_migration_locks_a_table_that_is_in_use(settings: Settings, tmp_path: Path) -> None:
    """The first makes the tables, when nobody uses them; squawk looks through the others."""
    sql = io.StringIO()
    with redirect_stdout(sql):
        command.upgrade(migrating.config(settings), "0001:head", sql=True)
    file = tmp_path / "migrations.sql"
    file.write_text(sql.getvalue() or "SELECT 1;")
    squawk = Path(sys.executable).with_name("squawk")
    found = subprocess.run([squawk, file], capture_output=True, text=True, timeout=30)
    assert found.returncode == 0, found.stdout + found.stderr
