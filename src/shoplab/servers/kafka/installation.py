"""What set-up leaves behind for Kafka: a Java, the jars, an AOT cache and the format of a new log.

The AOT cache holds the classes of a broker already loaded and linked. It belongs to one build of
Java, wherever that lies, one class path (order, sizes and times of its files) and one set of flags,
so its name is a hash of all, and every checkout of a user shares it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from shoplab.servers.kafka.java import SPARING, Java

FIRST_RELEASE_WITH_AOT = 25

FLAGS = (
    *SPARING,
    "-Xms64m",
    "-XX:TieredStopAtLevel=1",  # a course's brokers never live long enough for the second compiler
    "-XX:-UsePerfData",  # leaves no file in the machine's temporary directory
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
)
UNSAFE_FLAG = "--sun-misc-unsafe-memory-access=allow"
"""Java 24 and later print four lines of warnings about Kafka's use of ``Unsafe`` without it."""


@dataclass(frozen=True)
class Installation:
    """Everything a broker is started from; ``cache`` is the directory for what is made once."""

    java: Java
    jars: tuple[Path, ...]
    cache: Path

    @property
    def flags(self) -> tuple[str, ...]:
        """The JVM's flags, without those that concern the AOT cache."""
        return FLAGS + ((UNSAFE_FLAG,) if self.java.release >= 24 else ())

    @property
    def broker_jar(self) -> str:
        """The name of the broker's own jar, with Scala's and Kafka's version: kafka_2.13-4.3.1."""
        return next(jar.stem for jar in self.jars if jar.name.startswith("kafka_"))

    @property
    def bootstrap(self) -> Path:
        """The feature levels that ``StorageTool format`` writes, the same for every new broker."""
        return self.cache / f"{self.broker_jar}-bootstrap.checkpoint"

    @property
    def aot_cache(self) -> Path | None:
        """Where this installation's AOT cache is or will be; None for a Java that has none."""
        if self.java.release < FIRST_RELEASE_WITH_AOT:
            return None
        parts = [self.java.description, *self.flags]
        modules = self.java.path.resolve().parent.parent / "lib" / "modules"
        if modules.exists():  # some launchers find their runtime elsewhere, as macOS's stub does
            parts.append(f"modules {modules.stat().st_size}")
        for jar in self.jars:
            status = jar.stat()
            parts.append(f"{jar} {status.st_size} {status.st_mtime_ns}")
        name = hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()
        return self.cache / f"kafka-{name[:16]}.aot"

    def command(self, main: str, *arguments: str, flags: tuple[str, ...] = ()) -> list[str]:
        """The command line that runs the class ``main`` from these jars, with more ``flags``."""
        path = os.pathsep.join(map(str, self.jars))
        return [str(self.java.path), *self.flags, *flags, "-cp", path, main, *arguments]
