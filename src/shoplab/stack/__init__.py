"""Live local servers: Kafka, Redis and PostgreSQL, started on first use and shared by every user.

    with Stack() as stack:
        KafkaProducer(**stack.kafka)
        redis.Redis.from_url(stack.redis_url)
        sqlalchemy.create_engine(stack.database_url)

``client`` is what a user holds, ``wire`` what it says to the ``supervisor``, which owns the servers
and runs in a process of its own; a ``lease`` is the open connection between the two.
"""

from shoplab.stack.client import ManagedServers, PrivateCluster, PrivateServer, Stack

__all__ = ["ManagedServers", "PrivateCluster", "PrivateServer", "Stack"]
