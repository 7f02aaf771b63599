"""Kafka with its own defaults, as its manual starts it: what ours is measured against.

The course's notebooks have to run on such a broker too, as README says which.
"""

from __future__ import annotations

import os
import subprocess

from shoplab.ports import LOOPBACK
from shoplab.servers.kafka.broker import Broker

FLAGS = (
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
    "-Dlog4j2.configurationFile=log4j2.properties",
)
"""How Kafka's own start script runs the JVM."""

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners=PLAINTEXT://{host}:{client},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{client},CONTROLLER://{host}:{controller}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
num.network.threads=3
num.io.threads=8
log.dirs=data
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
"""
"""The settings file that comes with Kafka, on two free ports."""


class DefaultBroker(Broker):
    """Kafka as its manual starts it: formatted by its own tool, with its own JVM flags."""

    def prepare(self) -> None:
        """Format the data directory as the manual says."""
        super().write_configuration()
        tool = ("kafka.tools.StorageTool", "format", "--standalone", "-t", self.cluster_id)
        subprocess.run(
            self.java(*tool, "-c", "server.properties"),
            cwd=self.directory,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def command(self) -> list[str]:
        """Kafka's main class, by Kafka's own flags."""
        return self.java(*FLAGS, "kafka.Kafka", "server.properties")

    def java(self, *arguments: str) -> list[str]:
        """Run Java on the same jars."""
        jars = os.pathsep.join(map(str, self.installation.jars))
        return [str(self.installation.java.path), "-cp", jars, *arguments]

    def _properties(self) -> str:
        client, controller = self.voters[self.broker_id]
        return SETTINGS.format(host=LOOPBACK, client=client, controller=controller)
