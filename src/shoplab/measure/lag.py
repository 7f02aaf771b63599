"""Consumer lag over time, measured and predicted.

Lag is the number of records that a group has yet to handle: the log's end offset minus the
committed offset, summed over the topic's partitions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from kafka import KafkaAdminClient, OffsetSpec, TopicPartition
from kafka.errors import KafkaError, UnknownTopicOrPartitionError
from numpy.typing import NDArray

from shoplab.errors import LagError

INTERVAL = 0.1
"""Seconds between two samples."""

PATIENCE = 30.0
"""Seconds without a sample, because the cluster elects a leader, before the watch gives up."""


class LagOverTime(Protocol):
    """What a figure needs: times in seconds since the start, and the lag, in records, at each."""

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds since the start, one for each sample."""

    @property
    def lag(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """Records not yet handled, one value for each sample."""

    @property
    def drained_at(self) -> float | None:
        """Seconds since the start when nothing was left; None while something is."""


@dataclass(eq=False)
class LagRecording:
    """Samples of one group's lag on one topic; it grows while ``watch_lag`` runs.

    ``started`` is the start in seconds since the epoch. The arrays have one entry per sample;
    offsets are summed over the topic's partitions.
    """

    topic: str
    group: str
    started: float = field(default_factory=time.time)
    _zero: float = field(default_factory=time.monotonic, repr=False)
    _samples: list[tuple[float, int, int]] = field(default_factory=list, repr=False)

    def add(self, end: int, committed: int) -> None:
        """Append a sample that was taken now."""
        self._samples.append((time.monotonic() - self._zero, end, committed))

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds since the start, one for each sample."""
        return np.array([at for at, _, _ in self._samples])

    @property
    def end(self) -> NDArray[np.int64]:
        """Records written to the topic up to each sample."""
        return np.array([end for _, end, _ in self._samples])

    @property
    def committed(self) -> NDArray[np.int64]:
        """Records that the group had committed as handled at each sample."""
        return np.array([committed for _, _, committed in self._samples])

    @property
    def lag(self) -> NDArray[np.int64]:
        """Records not yet handled, one value for each sample."""
        return np.array([end - committed for _, end, committed in self._samples])

    @property
    def peak(self) -> int:
        """The greatest lag seen, in records."""
        return int(self.lag.max())

    @property
    def drained_at(self) -> float | None:
        """Seconds since the start when the lag, after its peak, was first seen at 0, else None."""
        lag = self.lag  # one look: another sample may come between two
        empty = np.flatnonzero(lag[lag.argmax() :] == 0)
        return float(self.times[lag.argmax() + empty[0]]) if empty.size else None

    def __str__(self) -> str:
        """One line: 'lag of payment on orders: peak 9,512, drained after 20.1 s'."""
        end = "not drained" if self.drained_at is None else f"drained after {self.drained_at:.1f} s"
        return f"lag of {self.group} on {self.topic}: peak {self.peak:,}, {end}"


@dataclass(frozen=True)
class LagPrediction:
    """The lag that arithmetic predicts; straight lines between the entries of its arrays."""

    times: NDArray[np.float64]
    lag: NDArray[np.float64]

    @property
    def peak(self) -> float:
        """The greatest lag, in records."""
        return float(self.lag.max())

    @property
    def drained_at(self) -> float:
        """Seconds since the start when nothing is left."""
        return float(self.times[-1])


def predict_lag(arrivals: int, *, within: float, rate: float, start: float = 0.0) -> LagPrediction:
    """The lag when ``arrivals`` records come ``within`` seconds and ``rate`` a second are handled.

    They come evenly; ``start`` is when the first comes, in seconds since the recording's start. The
    backlog is drained ``arrivals / rate`` seconds later, or at the last arrival if the rate does.
    """
    backlog = max(0.0, arrivals - rate * within)
    times = [start, start + within, start + max(within, arrivals / rate)]
    return LagPrediction(np.array(times), np.array([0.0, backlog, 0.0]))


@contextmanager
def watch_lag(
    kafka: Mapping[str, Any], topic: str, group: str, *, interval: float = INTERVAL
) -> Iterator[LagRecording]:
    """Sample the lag of ``group`` on ``topic`` every ``interval`` seconds while the block runs.

    ``kafka`` are a client's settings. A partition without a committed offset counts from its first
    record. The first sample is taken before the block, the last one after it. A failure to sample
    that is no passing one is raised as ``LagError`` when the block ends.
    """
    admin = KafkaAdminClient(**kafka)
    try:
        sampler = _Sampler(admin, LagRecording(topic, group), interval)
        sampler.start()
        try:
            yield sampler.recording
        finally:
            sampler.stop()
        sampler.finish()
    finally:
        admin.close()


def lag(admin: KafkaAdminClient, topic: str, group: str) -> int:
    """How many records of ``topic`` the group has yet to handle, now.

    A partition without a committed offset counts from its first record. Errors are ``LagError``.
    """
    try:
        end, committed = _Offsets(admin, topic, group).read()
    except KafkaError as error:
        raise _lag_error(topic, group, error) from error
    return end - committed


class _Offsets:
    """Where a topic ends, and how far a group has come in it, summed over the partitions."""

    def __init__(self, admin: Any, topic: str, group: str) -> None:
        self._admin = admin
        self._group = group
        self._first = self._ask(self._partitions(topic), OffsetSpec.EARLIEST)

    def read(self) -> tuple[int, int]:
        """The end and what is committed, which is read first so that the lag is never below 0."""
        known = self._admin.list_group_offsets({self._group: list(self._first)})[self._group]
        committed = sum(
            known[partition].offset
            if partition in known and known[partition].offset >= 0
            else first
            for partition, first in self._first.items()
        )
        return sum(self._ask(self._first, OffsetSpec.LATEST).values()), committed

    def _partitions(self, topic: str) -> list[TopicPartition]:
        (described,) = self._admin.describe_topics([topic])
        if not described["partitions"]:
            raise UnknownTopicOrPartitionError("it has no partitions")
        return [
            TopicPartition(topic, partition["partition_index"])
            for partition in described["partitions"]
        ]

    def _ask(self, partitions: Any, spec: OffsetSpec) -> dict[TopicPartition, int]:
        found = self._admin.list_partition_offsets(dict.fromkeys(partitions, spec))
        return {partition: entry.offset for partition, entry in found.items()}


def _lag_error(topic: str, group: str, error: KafkaError) -> LagError:
    what = f"{type(error).__name__}: {error}"
    return LagError(
        f"The lag of {group} on {topic} cannot be read ({what}).",
        next_step="check that the topic exists and that the cluster is up",
    )


class _Sampler:
    """A thread that adds a sample to the recording at every tick, until it is stopped."""

    _offsets: _Offsets  # looked up at the start

    def __init__(self, admin: Any, recording: LagRecording, interval: float) -> None:
        self.recording = recording
        self._admin = admin
        self._interval = interval
        self._stopped = threading.Event()
        self._failure: KafkaError | None = None
        self._thread = threading.Thread(target=self._run, name="shoplab-lag", daemon=True)

    def start(self) -> None:
        """Take the first sample here, so that wrong settings fail at once; then sample on."""
        try:
            self._offsets = _Offsets(self._admin, self.recording.topic, self.recording.group)
            self._sample_patiently(threading.Event())
        except KafkaError as error:
            raise self._error(error) from error
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        self._thread.join(PATIENCE)

    def finish(self) -> None:
        """Take the last sample, or raise what ended the sampling."""
        try:
            if self._failure is not None:
                raise self._failure
            self._sample()
        except KafkaError as error:
            raise self._error(error) from error

    def _run(self) -> None:
        tick = time.monotonic()
        try:
            while not self._stopped.wait(max(0.0, tick - time.monotonic())):
                self._sample_patiently(self._stopped)
                tick += self._interval
        except KafkaError as error:
            self._failure = error

    def _sample_patiently(self, stopped: threading.Event) -> None:
        """Sample; while a leader or a coordinator is being elected, try again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._sample()
            except KafkaError as error:
                if not error.retriable or time.monotonic() > deadline:
                    raise
            if stopped.wait(self._interval):
                return None

    def _sample(self) -> None:
        self.recording.add(*self._offsets.read())

    def _error(self, error: KafkaError) -> LagError:
        return _lag_error(self.recording.topic, self.recording.group, error)
