"""How soon a broker may take a consumer for dead that it does not hear of any more."""

from __future__ import annotations

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

LEAST = "group.min.session.timeout.ms"

USUAL_LEAST = 6000
"""Kafka's default of that setting, in milliseconds."""


def session_timeout(admin: KafkaAdminClient, wanted: int) -> int:
    """``wanted`` milliseconds, or the least that the brokers allow if that is more.

    Brokers that do not let us see their settings are taken for ones with the usual least.
    """
    broker = str(admin.describe_cluster()["brokers"][0]["broker_id"])
    resource = ConfigResource(ConfigResourceType.BROKER, broker, [LEAST])
    seen = admin.describe_configs([resource], config_filter="all")["broker"][broker]
    return max(wanted, int(seen[LEAST]["value"]) if seen else USUAL_LEAST)
