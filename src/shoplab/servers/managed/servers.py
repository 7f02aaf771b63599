"""The three servers behind TLS and passwords, and the variables that point a program at them."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from shoplab.errors import ServerError
from shoplab.paths import private_directory
from shoplab.ports import LOOPBACK, free_ports
from shoplab.servers.kafka.broker import Broker
from shoplab.servers.kafka.setup import set_up
from shoplab.servers.managed.certificates import Certificates, make_certificates
from shoplab.servers.postgres import PORT, Postgres
from shoplab.servers.redis import Redis
from shoplab.servers.server import NotReady, Server, Settings

USER = "shop"
"""Who logs in at Kafka and PostgreSQL, and the name of the database that is theirs."""

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def password() -> str:
    """A new one, with the letters ``+/=`` that providers' keys have and addresses must escape."""
    return base64.b64encode(b"\xfb\xff" + secrets.token_bytes(23)).decode()


class ManagedKafka(Broker):
    """One broker that lets in nobody without TLS and password, itself included."""

    def __init__(self, directory: Path, home: Path, certificates: Certificates) -> None:
        client, controller = free_ports(2)
        super().__init__(1, directory, home, set_up(), {1: (client, controller)})
        self.certificates, self.password = certificates, password()

    def settings(self) -> Settings:
        """As ``kafka-python`` calls them."""
        return super().settings() | {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": USER,
            "sasl_plain_password": self.password,
            "ssl_cafile": str(self.certificates.authority),
        }

    def _properties(self) -> str:
        client, controller = self.voters[1]
        door = f"SECURED://{LOOPBACK}:{client}"
        own_login = f'username="{USER}" password="{self.password}"'
        own = {
            "listeners": f"{door},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": door,
            "listener.security.protocol.map": "SECURED:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SECURED",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secured.plain.sasl.jaas.config": (
                f'{PLAIN} {own_login} user_{USER}="{self.password}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._relative(self.certificates.server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._relative(self.certificates.authority),
        }
        # of a name that stands twice, the second counts
        return super()._properties() + "".join(f"{name}={value}\n" for name, value in own.items())

    def _relative(self, path: Path) -> str:
        """A path may hold any character, and this file may not."""
        return os.path.relpath(path, self.directory)


class ManagedPostgres(Postgres):
    """PostgreSQL with one role, which owns one database; nobody else gets in, and nobody freely."""

    def __init__(self, directory: Path, home: Path) -> None:
        super().__init__(directory, home)
        self.password = password()

    def prepare(self) -> None:
        """Make the role and its database before the server runs, and close all other doors."""
        super().prepare()
        rules = self.data / "pg_hba.conf"
        if "trust" not in rules.read_text():
            return
        made = subprocess.run(
            [*self.command()[:-2], "--single", "-D", self.data.name, "postgres"],
            input=f"CREATE ROLE {USER} LOGIN PASSWORD '{self.password}'\n"
            f"CREATE DATABASE {USER} OWNER {USER}\n",
            text=True,
            capture_output=True,
            env=self.environment(),
            cwd=self.directory,
        )
        if made.returncode or "ERROR" in made.stderr:
            raise ServerError(
                f"PostgreSQL could not make a role: {made.stderr.strip()[-300:]}",
                next_step="`shoplab doctor` looks at disk space and rights",
            )
        rules.write_text(f"local {USER} {USER} scram-sha-256\n")

    def login(self) -> Settings:
        """The one role that there is."""
        return {"user": USER, "dbname": USER, "password": self.password}


class ServerEdge(Server):
    """The process of ``edge.py``, in front of a Redis and a PostgreSQL."""

    def __init__(
        self,
        directory: Path,
        home: Path,
        certificates: Certificates,
        redis: Redis,
        postgres: ManagedPostgres,
    ) -> None:
        super().__init__("edge", directory, home)
        self.certificates, self.redis, self.postgres = certificates, redis, postgres
        self.redis_port = self.postgres_port = 0

    def environment(self) -> dict[str, str]:
        """See ``Server``. Without a locale Python takes one in which folders may have any name."""
        return {name: value for name, value in super().environment().items() if name != "LC_ALL"}

    def prepare(self) -> None:
        """Choose the two ports."""
        self.redis_port, self.postgres_port = free_ports(2)

    def command(self) -> list[str]:
        """Its two doors; no password is among its arguments, since it knows none."""
        socket = self.postgres.sockets / f".s.PGSQL.{PORT}"
        return [
            *(sys.executable, "-m", "shoplab.servers.managed.edge", str(self.certificates.server)),
            *("redis", str(self.redis_port), str(self.redis.port)),
            *("postgres", str(self.postgres_port), str(socket)),
        ]

    def check(self) -> None:
        """Log in at both through it, as the shop would."""
        import psycopg
        import redis

        where = self.settings()
        try:
            with redis.Redis.from_url(where["REDIS_URL"], socket_timeout=2) as client:
                client.ping()
            with psycopg.connect(where["DATABASE_URL"], connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except (redis.RedisError, psycopg.OperationalError) as error:
            raise NotReady(str(error).strip()) from error

    def settings(self) -> Settings:
        """The addresses of both, as variables: whom to log in as, and which authority to trust."""
        authority = quote(str(self.certificates.authority))
        redis, postgres = (
            f"{quote(each.password, safe='')}@{LOOPBACK}:{port}"
            for each, port in ((self.redis, self.redis_port), (self.postgres, self.postgres_port))
        )
        return {
            "DATABASE_URL": f"postgresql://{USER}:{postgres}/{USER}"
            f"?sslmode=verify-full&sslrootcert={authority}",
            "REDIS_URL": f"rediss://default:{redis}/0?ssl_ca_certs={authority}",
        }


class Managed:
    """A Kafka, a Redis and a PostgreSQL by TLS and password only; ``settings`` are variables."""

    def __init__(self, directory: Path, home: Path) -> None:
        self.directory = private_directory(directory)
        certificates = make_certificates(self.directory)
        self.kafka = ManagedKafka(directory / "kafka", home, certificates)
        self.redis = Redis(directory / "redis", home)
        self.redis.password = password()
        self.postgres = ManagedPostgres(directory / "postgres", home)
        ends = (self.redis, self.postgres)
        self.edge = ServerEdge(directory / "edge", home, certificates, *ends)

    def start(self) -> None:
        """Start all of them, Kafka beside the others."""
        try:
            with ThreadPoolExecutor() as pool:
                kafka = pool.submit(self.kafka.start)
                for done in [pool.submit(self.redis.start), pool.submit(self.postgres.start)]:
                    done.result()
                self.edge.start()
                kafka.result()
        except BaseException:  # Ctrl+C too: no server outlives a start that failed
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all of them."""
        for server in reversed(self.processes()):
            server.stop()

    def settings(self) -> Settings:
        """The variables that point a program at them."""
        kafka = {
            f"KAFKA_{name.upper().replace('PLAIN_', '')}": value
            for name, value in self.kafka.settings().items()
        }
        return kafka | self.edge.settings()

    def program(self) -> str:
        """Which programs serve."""
        return "Kafka, Redis and PostgreSQL with TLS and passwords"

    def processes(self) -> Sequence[Server]:
        """The three servers, and the edge in front of two of them."""
        return [self.kafka, self.redis, self.postgres, self.edge]
