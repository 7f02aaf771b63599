"""Who has joined a consumer group, and which partitions each of them holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kafka import KafkaAdminClient, TopicPartition


def members(admin: KafkaAdminClient, group: str) -> int:
    """How many members a consumer group has; 0 unless it is stable."""
    return len(_settled(admin, group))


def assignment(admin: KafkaAdminClient, group: str) -> dict[str, set[TopicPartition]]:
    """What each member of a consumer group holds, as the broker has it; nothing unless stable.

    A member is named by its ``client_id``, or by its ``member_id`` where another has the same.
    """
    described = _settled(admin, group)
    times = Counter(member["client_id"] for member in described)
    return {
        member["client_id"] if times[member["client_id"]] == 1 else member["member_id"]: {
            TopicPartition(topic["topic"], partition)
            for topic in member["member_assignment"]["assigned_partitions"]
            for partition in topic["partitions"]
        }
        for member in described
    }


def _settled(admin: KafkaAdminClient, group: str) -> list[dict[str, Any]]:
    described = admin.describe_groups([group])[group]
    found: list[dict[str, Any]] = described["members"]
    return found if described["group_state"] == "Stable" else []
