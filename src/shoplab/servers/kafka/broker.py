"""Apache Kafka in KRaft mode: one broker, and clusters of one or three on this machine."""

from __future__ import annotations

import base64
import shutil
import signal
import uuid
from pathlib import Path

from kafka.errors import KafkaError

from shoplab.errors import ServerError
from shoplab.paths import private_directory
from shoplab.ports import LOOPBACK
from shoplab.servers.kafka.installation import Installation
from shoplab.servers.kafka.round_trip import round_trip
from shoplab.servers.server import NotReady, Server, Settings

STARTED = "Kafka Server started"

SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "log.dirs": "data",
    "auto.create.topics.enable": "false",
    # few threads and small buffers: the machine is a laptop
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "log.index.size.max.bytes": "1048576",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.num.partitions": "2",
    # Not 0: kafka-python 3.0.12 may join before it has the topic's metadata and then joins again;
    # a poll whose time ends within that second join leaves it without partitions for ever.
    "group.initial.rebalance.delay.ms": "300",
    # a consumer's crash and a broker's are noticed within about a second
    "group.min.session.timeout.ms": "1000",
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
    "controller.quorum.fetch.timeout.ms": "1000",
    "controller.quorum.election.backoff.max.ms": "300",
    # retention shows within seconds; Kafka's own first look at it comes after half a minute
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.segment.delete.delay.ms": "200",
}


class Broker(Server):
    """One Kafka process, broker and controller at once, in a directory of its own.

    ``voters`` maps every broker's id to its client port and controller port. ``training`` names a
    file: the broker then leaves an AOT cache there when it stops.
    """

    start_attempts = 1
    """Its ports are not its own to choose: the other brokers know them."""

    last_words = (
        *Server.last_words,
        ("Failed to acquire lock", "another broker uses this data directory; stop that one first"),
        ("AccessDenied", "make {directory} yours to write, then start again"),
        ("not found in data", "the data are damaged; remove {directory}/data, then start again"),
        ("meta.properties", "the data are damaged; remove {directory}/data, then start again"),
    )

    def __init__(
        self,
        broker_id: int,
        directory: Path,
        home: Path,
        installation: Installation,
        voters: dict[int, tuple[int, int]],
        training: Path | None = None,
    ) -> None:
        super().__init__(f"kafka-{broker_id}", directory, home)
        self.broker_id = broker_id
        self.installation = installation
        self.voters = voters
        self.training = training
        self._uses_cache = training is None

    def settings(self) -> Settings:
        """The settings of a ``kafka-python`` client that talks to this broker."""
        return {"bootstrap_servers": f"{LOOPBACK}:{self.voters[self.broker_id][0]}"}

    def prepare(self) -> None:
        """Write the configuration, and format the data directory where there is none.

        A format is two files: the feature levels, the same for all, and ``meta.properties``.
        Kafka takes a directory with the second for formatted, so it comes last and whole.
        """
        self.write_configuration()
        data, meta = private_directory(self.directory / "data"), self._meta
        if not meta.exists():
            shutil.copyfile(self.installation.bootstrap, data / "bootstrap.checkpoint")
            draft = data / "meta.properties.draft"
            draft.write_text(
                f"version=1\ncluster.id={self.cluster_id}\nnode.id={self.broker_id}\n"
                f"directory.id={_kafka_id(uuid.uuid4())}\n"
            )
            draft.replace(meta)

    def write_configuration(self) -> None:
        """Write ``server.properties`` and ``log4j2.properties``."""
        (self.directory / "server.properties").write_text(self._properties(), encoding="ascii")
        logging = Path(__file__).with_name("log4j2.properties")
        shutil.copyfile(logging, self.directory / logging.name)

    def command(self) -> list[str]:
        """Kafka's main class, with every path relative: they may hold any character."""
        flags = ["-Dlog4j2.configurationFile=log4j2.properties"]
        flags.append(f"-Djava.io.tmpdir={self.directory}")
        if self.training is not None:
            flags.append(f"-XX:AOTCacheOutput={self.training}")
        elif (cache := self._cache()) is not None:
            # with 'on' a JVM that refuses the cache says so and ends; with 'auto' it is just slow
            flags += [f"-XX:AOTCache={cache}", "-XX:AOTMode=on"]
        return self.installation.command("kafka.Kafka", "server.properties", flags=tuple(flags))

    def environment(self) -> dict[str, str]:
        """The server's environment, in a locale that can say 'é', with few of malloc's arenas.

        Each arena reserves 64 MB of addresses, for every few threads another: a gigabyte in all.
        """
        return super().environment() | {"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}

    def start(self) -> None:
        """Start the broker; where the JVM refuses its AOT cache, start without, and drop that.

        Set-up then makes a new one. A JVM that fails without it too had another reason.
        """
        try:
            super().start()
        except ServerError:
            cache = self._refused_cache()
            if cache is None:
                raise
            self._uses_cache = False
            super().start()
            cache.unlink(missing_ok=True)

    def check(self) -> None:
        """Write one record to a topic on this broker, read it back, and await group coordinators.

        The clients come only after the broker's own word that it is up: a constructor that fails
        leaves a thread behind.
        """
        if STARTED not in self.words():
            raise NotReady("it has not said that it is up")
        topic = f"__shoplab_ready_{self.broker_id}_{uuid.uuid4().hex[:8]}"
        try:
            round_trip(self.settings(), topic, assignments={0: [self.broker_id]})
        except KafkaError as error:
            raise NotReady(f"{type(error).__name__}: {error}") from error

    @property
    def _meta(self) -> Path:
        """Where it is, the data directory is formatted."""
        return self.directory / "data" / "meta.properties"

    def _cache(self) -> Path | None:
        cache = self.installation.aot_cache
        return cache if self._uses_cache and cache is not None and cache.exists() else None

    def _refused_cache(self) -> Path | None:
        """The cache, if it may be why the process died."""
        if self.process is None or self.process.poll() is None:
            return None
        crashed = self.process.returncode in (-signal.SIGABRT, -signal.SIGBUS, -signal.SIGSEGV)
        return self._cache() if crashed or "AOT cache" in self.words() else None

    def _properties(self) -> str:
        client, controller = self.voters[self.broker_id]
        copies = len(self.voters)
        own = {
            "node.id": self.broker_id,
            "listeners": f"PLAINTEXT://{LOOPBACK}:{client},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{client}",
            "controller.quorum.voters": ",".join(
                f"{voter}@{LOOPBACK}:{port}" for voter, (_, port) in self.voters.items()
            ),
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "share.coordinator.state.topic.replication.factor": copies,
            # one of three may die, and groups and transactions go on
            "transaction.state.log.min.isr": min(2, copies),
            "share.coordinator.state.topic.min.isr": min(2, copies),
        }
        if copies == 1 and not self._meta.exists():
            # Nobody takes over from a lone broker, so a disk that stalls must not make it stand
            # down. One that starts again waits for its former session to end, which is to be soon.
            own["broker.session.timeout.ms"] = 30_000
        return "".join(f"{key}={value}\n" for key, value in (SETTINGS | own).items())

    @property
    def cluster_id(self) -> str:
        """The same for brokers side by side, and no other: a stranger on a port is turned away."""
        return _kafka_id(uuid.uuid5(uuid.NAMESPACE_URL, str(self.directory.parent.resolve())))


def _kafka_id(value: uuid.UUID) -> str:
    """Kafka's way to write 128 bits: 22 letters of URL-safe base64, not starting with a dash."""
    return base64.urlsafe_b64encode(value.bytes).decode().rstrip("=").replace("-", "_", 1)
