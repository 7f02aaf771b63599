"""Consumer groups need a coordinator, and a fresh Kafka makes one only when first asked."""

from __future__ import annotations

import time

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

PROBES = ("a", "b")
"""Groups that nobody uses; one for each of the two partitions of our ``__consumer_offsets``."""


def await_coordinators(admin: KafkaAdminClient, timeout: float = 30.0) -> None:
    """Return when consumer groups can be used; the probes leave nothing behind.

    Whoever asks about a group before that gets ``CoordinatorNotAvailableError`` or
    ``CoordinatorLoadInProgressError``. After ``timeout`` seconds that is raised here, and any other
    error at once.
    """
    deadline = time.monotonic() + timeout
    for group in PROBES:
        while True:
            try:
                admin.list_group_offsets([group])
                break
            except KafkaError as error:
                if not error.retriable or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)
