"""A PostgreSQL that exists: asked for a schema of one's own, as each notebook makes one."""

from __future__ import annotations

import secrets

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from shoplab.schema import Schema, rendered
from shoplab.servers.external import door
from shoplab.servers.external.door import Meaning, explained

POOLER = (
    "a connection pooler in front of it does not keep each notebook's tables in a schema apart",
    "write the database's direct, unpooled address into DATABASE_URL",
)

MEANINGS = (
    Meaning("unsupported startup parameter", *POOLER),
    Meaning(
        "certificate verify failed",
        "its certificate is not trusted here",
        "name the file with its authority's certificate: DATABASE_URL=...?sslrootcert=FILE",
    ),
    Meaning(
        "invalid connection option", "", "use libpq's names after the ?, as in ?sslmode=require"
    ),
    Meaning(
        "read-only transaction",
        "it takes no writes: it is a standby, or set to read only",
        "name its primary in DATABASE_URL",
    ),
    Meaning("permission denied for database", "", "GRANT CREATE ON DATABASE ... TO this role"),
)


def settings(address: str) -> dict[str, str]:
    """``url``, for SQLAlchemy's ``create_engine``, after a try in a schema of our own."""
    try:
        url = sqlalchemy.make_url(address)
        if url.get_backend_name() not in ("postgresql", "postgres"):
            raise ValueError("it does not begin with postgresql://")
        url = url.set(drivername="postgresql+psycopg")
        limit = {"connect_timeout": f"{door.DEADLINE:.0f}"}
        _try(rendered(url.update_query_dict(limit)))
    except (SQLAlchemyError, OSError, ValueError) as error:
        cause = getattr(error, "orig", None) or error
        raise explained("postgres", address, cause, MEANINGS) from None
    return {"url": rendered(url)}


def _try(url: str) -> None:
    """Do what notebooks do: use a table in a schema of one's own from two connections."""
    name = f"lab_ready_{secrets.token_hex(3)}"
    schema = Schema(name, url)
    engine = sqlalchemy.create_engine(schema.url)
    try:
        with engine.connect() as one, engine.connect() as other:
            for connection in (one, other):
                if connection.scalar(sqlalchemy.text("SELECT current_schema()")) != name:
                    raise ValueError("unsupported startup parameter: options (it was ignored)")
            one.execute(sqlalchemy.text("CREATE TABLE ready (number int)"))
            one.commit()
            other.execute(sqlalchemy.text("INSERT INTO ready VALUES (1)"))
            other.commit()
    finally:
        engine.dispose()
        schema.drop()
