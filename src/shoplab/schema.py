"""A PostgreSQL schema for one run, from its creation to its end."""

from __future__ import annotations

from sqlalchemy import URL, NullPool, create_engine, make_url
from sqlalchemy.schema import CreateSchema, DropSchema, ExecutableDDLElement

LOCK_TIMEOUT = "2s"
"""A transaction left open in a notebook must not make the end of its lab wait."""


def rendered(url: URL) -> str:
    """The address as every client reads it: libpq takes SQLAlchemy's ``+`` for a plus, not a space.

    A socket's directory may have a space in its path, and so may ``options``.
    """
    before, mark, query = url.render_as_string(hide_password=False).partition("?")
    return f"{before}{mark}{query.replace('+', '%20')}"


class Schema:
    """A schema that is made here; ``url`` is the address whose unqualified tables are in it.

    Errors are SQLAlchemy's.
    """

    def __init__(self, name: str, database_url: str) -> None:
        self._name = name
        self._database_url = database_url
        self._execute(CreateSchema(name))
        url = make_url(database_url)
        options = f"{url.query.get('options', '')} -csearch_path={name}".strip()
        inside = url.update_query_dict({"options": options})
        self.url = rendered(inside)

    def drop(self) -> None:
        """Drop the schema with all that is in it; one that is gone already is no error."""
        self._execute(DropSchema(self._name, cascade=True, if_exists=True))

    def _execute(self, statement: ExecutableDDLElement) -> None:
        with create_engine(self._database_url, poolclass=NullPool).begin() as connection:
            connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
            connection.execute(statement)
