"""Who has joined a consumer group."""

from __future__ import annotations

from kafka import KafkaAdminClient


def members(admin: KafkaAdminClient, group: str) -> int:
    """How many members a consumer group has; 0 unless it is stable."""
    described = admin.describe_groups([group])[group]
    return len(described["members"]) if described["group_state"] == "Stable" else 0
