"""The database: one session a unit of work, and the two tables that go with every message.

A message that is to be sent is a row of the *outbox*, written in the same transaction as what it
tells of; ``relay.py`` sends it. A message that was handled is a row of the *inbox*, written in the
same transaction as what it has changed, so that a repetition changes nothing.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    DateTime,
    Enum,
    Identity,
    LargeBinary,
    MetaData,
    Table,
    Text,
    event,
    func,
    make_url,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import registry

from shop import logs
from shop.messages import Message, sealed
from shop.settings import Settings
from shop.telemetry import told, traceparent

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
    }
)
mappers = registry(metadata=metadata)

outbox = Table(
    "outbox",
    metadata,
    Column("sequence", BigInteger, Identity(), primary_key=True),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("written_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
inbox = Table(
    "inbox",
    metadata,
    Column("context", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("handled_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


def one_of(kind: type[StrEnum]) -> Enum:
    """The type of a column that holds one of these words, as text: a new one needs no migration."""
    return Enum(kind, values_callable=list, native_enum=False, length=20)


def address(settings: Settings, **limits: str) -> URL:
    """Where the database is, with these server settings for the session."""
    url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql+psycopg")
    options = [
        str(url.query.get("options", "")),
        *(f"-c{n}={value}" for n, value in limits.items()),
    ]
    return url.update_query_dict({"options": " ".join(options).strip()})


def engine(settings: Settings, connections: int) -> AsyncEngine:
    """A pool of so many connections; what the server does for us has an end."""
    pool = create_async_engine(
        address(settings, statement_timeout=f"{settings.shop_bank_deadline}s"),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=settings.shop_deadline,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5},
        hide_parameters=True,
    )
    event.listen(pool.sync_engine, "handle_error", quote_no_rows)
    return pool


def quote_no_rows(failure: ExceptionContext) -> None:
    """Errors are told to logs, and the server's quote whole rows, whatever the client hides."""
    said = getattr(failure.original_exception, "diag", None)
    if said is not None and said.message_detail:
        for error in filter(None, (failure.original_exception, failure.sqlalchemy_exception)):
            error.args = tuple(str(each).replace(said.message_detail, "…") for each in error.args)


class UnitOfWork:
    """What is changed together, in one transaction: rows, what is sent, what was handled.

    Nothing of it is there before ``commit``, and without that nothing of it ever is.
    """

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self._messages: list[str] = []

    async def send(self, *messages: Message, source: str) -> None:
        """Have these messages sent once this unit of work is committed, in this sequence.

        They belong to the trace that we are in.
        """
        records = [sealed(message, source, traceparent()) for message in messages]
        if records:
            await self.session.execute(insert(outbox), [vars(record) for record in records])
            self._messages += [type(message).__name__ for message in messages]

    async def first_time(self, context: str, message_id: str) -> bool:
        """Whether this context has not handled the message yet; from now on it has."""
        row = insert(inbox).values(context=context, message_id=message_id)
        written = await self.session.execute(
            row.on_conflict_do_nothing().returning(inbox.c.message_id)
        )
        first = written.first() is not None
        if not first:
            logs.say(outcome="handled before")
        return first

    async def commit(self) -> None:
        """Make all of it true."""
        await self.session.commit()
        told(self._messages)
        self._messages = []
