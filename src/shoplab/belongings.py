"""What one run makes on servers that it shares with others: topics, groups, a PostgreSQL schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaAdminClient
from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.schema import CreateSchema, DropSchema, ExecutableDDLElement

LOCK_TIMEOUT = "2s"
"""A transaction left open in a notebook must not make the end of its lab wait."""


def create_topic(
    kafka: Mapping[str, Any],
    name: str,
    *,
    partitions: int,
    replicas: int,
    config: Mapping[str, Any],
) -> None:
    """Create a topic; returns when every partition has a leader.

    ``config`` are Kafka's topic settings with underscores for dots. Errors are ``kafka-python``'s.
    """
    settings = {key.replace("_", "."): _setting(value) for key, value in config.items()}
    topic = {
        "num_partitions": partitions,
        "replication_factor": replicas,
        "configs": settings,
    }
    admin = KafkaAdminClient(**kafka)
    try:
        admin.create_topics({name: topic}, wait_for_metadata=True)
    finally:
        admin.close()


def delete_topics(kafka: Mapping[str, Any], names: Iterable[str]) -> None:
    """Delete topics; those that are gone already are no error."""
    admin = KafkaAdminClient(**kafka)
    try:
        admin.delete_topics(list(names), raise_errors=False)
    finally:
        admin.close()


def members(admin: KafkaAdminClient, group: str) -> int:
    """How many members a consumer group has; 0 unless it is stable."""
    described = admin.describe_groups([group])[group]
    return len(described["members"]) if described["group_state"] == "Stable" else 0


def create_schema(database_url: str, schema: str) -> str:
    """Create a schema, and return the address whose unqualified tables are in it."""
    _execute(database_url, CreateSchema(schema))
    url = make_url(database_url)
    options = f"{url.query.get('options', '')} -csearch_path={schema}".strip()
    return url.update_query_dict({"options": options}).render_as_string(hide_password=False)


def drop_schema(database_url: str, schema: str) -> None:
    """Drop a schema with all that is in it."""
    _execute(database_url, DropSchema(schema, cascade=True, if_exists=True))


def _execute(database_url: str, statement: ExecutableDDLElement) -> None:
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        connection.execute(statement)


def _setting(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
