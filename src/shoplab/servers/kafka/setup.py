"""Bring everything Kafka needs: jars, a Java, the format of a new log, and an AOT cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from shoplab.errors import SetupError
from shoplab.locks import exclusive
from shoplab.paths import DISK_NEEDED_MB, cache_directory
from shoplab.ports import free_ports
from shoplab.servers.kafka.broker import Broker
from shoplab.servers.kafka.installation import Installation
from shoplab.servers.kafka.jars import (
    LOCK_PATIENCE,
    disk_errors,
    fetch_jars,
    jar_directory,
    listed_jars,
    missing_jars,
)
from shoplab.servers.kafka.java import find_java
from shoplab.servers.programs import advice

TRAINING_STOP_TIMEOUT = 60.0
"""Seconds; a JVM that trains writes its cache after the broker has stopped."""

KEPT_CACHES = 4
"""Each Java and each set of flags has an AOT cache (70 MB) of its own; the oldest go."""


def installed() -> Installation | None:
    """What set-up left, or None where some of it is missing. Starts nothing but ``java -version``.

    Raises ``SetupError`` where there is no Java.
    """
    if missing_jars():
        return None
    directory = jar_directory()
    jars = tuple(directory / jar.name for jar in listed_jars())
    installation = Installation(find_java(), jars, cache_directory())
    cache = installation.aot_cache
    made = installation.bootstrap.exists() and (cache is None or cache.exists())
    return installation if made else None


def is_set_up() -> bool:
    """Whether a broker can start at once."""
    return installed() is not None


def set_up(progress: bool = True) -> Installation:
    """Return the installation, after making what is missing of it.

    With ``progress``, standard error says what is done; where nothing is to be done it is silent.
    A second set-up at the same time waits for the first. Raises ``SetupError``.
    """
    with disk_errors():
        if (ready := installed()) is not None:
            return ready
        java = find_java()
        jars = tuple(fetch_jars(progress))
        installation = Installation(java, jars, cache_directory())
        with exclusive(installation.cache / ".set-up.lock", LOCK_PATIENCE):
            if not installation.bootstrap.exists():
                _make_bootstrap(installation)
            cache = installation.aot_cache
            if cache is not None and not cache.exists():
                if progress:
                    print("Training Java's class cache for Kafka, about 10 s", file=sys.stderr)
                _train(installation, cache)
    return installation


def _make_bootstrap(installation: Installation) -> None:
    """Format a log with Kafka's own tool and keep the part that is the same for every broker."""
    with tempfile.TemporaryDirectory(dir=installation.cache, prefix=".format-") as scratch:
        broker = Broker(1, Path(scratch), Path(scratch), installation, {1: (1, 2)})
        broker.write_configuration()
        command = installation.command(
            "kafka.tools.StorageTool", "format", "-t", broker.cluster_id, "-c", "server.properties"
        )
        result = subprocess.run(
            command,
            cwd=scratch,
            env=broker.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        if result.returncode != 0:
            words = (result.stdout + result.stderr).decode(errors="replace").strip()
            raise SetupError(
                f"Kafka's StorageTool failed with exit status {result.returncode}: {words[-500:]}",
                next_step=advice(words) or f"remove {jar_directory()} and run the command again",
            )
        made = Path(scratch) / "data" / "bootstrap.checkpoint"
        made.replace(installation.bootstrap)


def _train(installation: Installation, cache: Path) -> None:
    """Run a broker once through a start, a round trip and a stop, while the JVM takes notes."""
    others = sorted(installation.cache.glob("kafka-*.aot"), key=lambda file: file.stat().st_mtime)
    for old in others[: -KEPT_CACHES + 1]:
        old.unlink(missing_ok=True)
    scratch = installation.cache / "training"  # left behind by a failure, for its log
    shutil.rmtree(scratch, ignore_errors=True)
    draft = scratch / "draft.aot"
    client, controller = free_ports(2)
    broker = Broker(1, scratch, scratch, installation, {1: (client, controller)}, training=draft)
    broker.stop_timeout = TRAINING_STOP_TIMEOUT
    try:
        broker.start()
        broker.stop()
    finally:
        broker.kill()
    if not draft.exists():
        raise SetupError(
            "The training run of Kafka left no class cache.",
            next_step=f"see that {installation.cache} has {DISK_NEEDED_MB} MB free; run again",
            log=broker.log,
        )
    draft.replace(cache)
    shutil.rmtree(scratch, ignore_errors=True)
