"""The broker, behind one small port with an adapter for each client.

The adapters block, as their clients do; an event loop calls them in a thread (``threads.py``).
"""

from __future__ import annotations

from shop.broker.port import (
    Broker,
    BrokerUnavailable,
    Onlooker,
    Publisher,
    Received,
    Subscriber,
)
from shop.settings import Settings

__all__ = [
    "Broker",
    "BrokerUnavailable",
    "Onlooker",
    "Publisher",
    "Received",
    "Subscriber",
    "broker",
]


def broker(settings: Settings) -> Broker:
    """The broker by the client that the settings name."""
    # Imported here: a program pays for the one client that it uses.
    if settings.shop_broker == "confluent":
        from shop.broker.confluent import ConfluentBroker

        return ConfluentBroker(settings)
    from shop.broker.kafka_python import KafkaPythonBroker

    return KafkaPythonBroker(settings)
