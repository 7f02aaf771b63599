"""What one run makes on servers that it shares with others: topics and a PostgreSQL schema."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient

if TYPE_CHECKING:
    from shoplab.schema import Schema


class Belongings:
    """The topics and the schema of one run; ``drop`` removes them."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._topics: list[str] = []
        self._kafka: Mapping[str, Any] = {}
        self._schema: Schema | None = None

    def topic(
        self,
        name: str,
        kafka: Mapping[str, Any],
        *,
        private: bool,
        partitions: int,
        replicas: int,
        config: Mapping[str, Any],
    ) -> str:
        """Create a topic of this name, or ``name-2`` and so on if the run has made it before.

        Returns its name when every partition has a leader. ``config`` are Kafka's topic settings
        with underscores for dots. On a ``private`` cluster, which ends with the run, nothing has to
        be dropped. Errors are ``kafka-python``'s.
        """
        name = first_free(name, self._taken)
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
        self._taken.add(name)
        if not private:
            self._topics.append(name)
            self._kafka = kafka
        return name

    def schema(self, name: str, database_url: str) -> str:
        """The address whose unqualified tables are in the run's schema, which the first call makes.

        Errors are SQLAlchemy's.
        """
        if self._schema is None:
            from shoplab.schema import Schema  # SQLAlchemy takes half a second; few runs need it

            self._schema = Schema(name, database_url)
        return self._schema.url

    def forget(self) -> None:
        """Leave everything where it is."""
        self._topics, self._schema = [], None

    def drop(self) -> None:
        """Delete the topics, and drop the schema with all that is in it. Safe to repeat.

        Topics that are gone already are no error. Errors are ``kafka-python``'s and SQLAlchemy's.
        """
        topics, schema = self._topics, self._schema
        self.forget()
        try:
            if topics:
                _delete_topics(self._kafka, topics)
        finally:
            if schema is not None:
                schema.drop()


def first_free(name: str, taken: Container[str]) -> str:
    """``name``, or ``name-2``, ``name-3`` and so on: the first that is not taken."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(free for free in chain([name], numbered) if free not in taken)


def _delete_topics(kafka: Mapping[str, Any], names: Sequence[str]) -> None:
    admin = KafkaAdminClient(**kafka)
    try:
        admin.delete_topics(list(names), raise_errors=False)
    finally:
        admin.close()


def _setting(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
