"""Servers as others run them: Kafka by its manual, Redis and PostgreSQL as Debian packs them.

Each comes plain, or with TLS and a password where there is a ``certificate``; ``variables`` is what
a reader would write into the environment to have notebooks use it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg
import redis
from certificates import Certificate

from shoplab.ports import LOOPBACK, free_ports
from shoplab.servers.kafka.broker import Broker
from shoplab.servers.kafka.defaults import SETTINGS
from shoplab.servers.kafka.setup import set_up
from shoplab.servers.server import NotReady, Server, Settings

REDIS = Path(os.environ.get("SHOPLAB_ORDINARY_REDIS", "/usr/bin/redis-server"))
"""A Redis with TLS; it may lie elsewhere, so that the laboratory does not find it on the path."""

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql"))
"""Debian's newest; it is on nobody's path."""

PASSWORD = "s3cret/of:a@shop#1?"
"""With all the letters that an address has to escape."""


def missing() -> list[str]:
    """What is not installed of all that is needed here."""
    programs = (REDIS, POSTGRES / "postgres", Path(shutil.which("openssl") or "openssl"))
    return [str(program) for program in programs if not program.exists()]


class OrdinaryKafka(Broker):
    """A broker with the settings that Kafka comes with; with a certificate, it wants SASL_SSL.

    Formatted and started as ours, which takes a second and changes nothing of how it behaves.
    """

    def __init__(self, directory: Path, certificate: Certificate | None) -> None:
        client, self.controller, self.internal = free_ports(3)
        ports = {1: (client, self.controller)}
        super().__init__(1, directory, directory.parent, set_up(), ports)
        self.certificate = certificate

    def settings(self) -> Settings:
        if self.certificate is None:
            return super().settings()
        return super().settings() | {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": "shop",
            "sasl_plain_password": PASSWORD,
            "ssl_cafile": str(self.certificate.certificate),
        }

    def variables(self) -> Settings:
        return {
            f"KAFKA_{name.upper().replace('PLAIN_', '')}": value
            for name, value in self.settings().items()
        }

    def _properties(self) -> str:
        client, _ = self.voters[1]
        usual = SETTINGS.format(host=LOOPBACK, client=client, controller=self.controller)
        own = {"controller.quorum.voters": f"1@{LOOPBACK}:{self.controller}"}
        if self.certificate is not None:
            doors = f"SECURED://{LOOPBACK}:{client},INTERNAL://{LOOPBACK}:{self.internal}"
            protocols = "SECURED:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
            login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
            own |= {
                "listeners": f"{doors},CONTROLLER://{LOOPBACK}:{self.controller}",
                "advertised.listeners": doors,
                "listener.security.protocol.map": protocols,
                "inter.broker.listener.name": "INTERNAL",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.secured.plain.sasl.jaas.config": f'{login} user_shop="{PASSWORD}";',
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.certificate.both),
            }
        # of a name that stands twice, the second counts
        return usual + "".join(f"{name}={value}\n" for name, value in own.items())


class OrdinaryRedis(Server):
    """Redis with its own defaults; with a certificate, by TLS only and with a password."""

    def __init__(self, directory: Path, certificate: Certificate | None) -> None:
        super().__init__("redis", directory, directory.parent)
        self.certificate = certificate
        (self.port,) = free_ports(1)

    def prepare(self) -> None:
        lines = [f"bind {LOOPBACK}", f"port {self.port}"]
        if self.certificate is not None:
            lines = [
                *(f"bind {LOOPBACK}", "port 0", f"tls-port {self.port}", "tls-auth-clients no"),
                f"tls-cert-file {self.certificate.certificate}",
                f"tls-key-file {self.certificate.key}",
                f"tls-ca-cert-file {self.certificate.certificate}",
                f'requirepass "{PASSWORD}"',
            ]
        (self.directory / "redis.conf").write_text("\n".join([*lines, ""]))

    def command(self) -> list[str]:
        return [str(REDIS), "redis.conf"]

    def check(self) -> None:
        try:
            with redis.Redis.from_url(self.settings()["url"]) as client:
                client.ping()
        except redis.RedisError as error:
            raise NotReady(error) from error

    def settings(self) -> Settings:
        if self.certificate is None:
            return {"url": f"redis://{LOOPBACK}:{self.port}/0"}
        trust = f"ssl_ca_certs={self.certificate.certificate}"
        return {"url": f"rediss://:{quote(PASSWORD, safe='')}@{LOOPBACK}:{self.port}/0?{trust}"}

    def variables(self) -> Settings:
        return {"REDIS_URL": self.settings()["url"]}


class OrdinaryPostgres(Server):
    """PostgreSQL with its own defaults, and a role that owns a database and no more.

    With a certificate, it lets nobody in without TLS and password.
    """

    def __init__(self, directory: Path, certificate: Certificate | None) -> None:
        super().__init__("postgres", directory, directory.parent)
        self.certificate = certificate
        (self.port,) = free_ports(1)

    def prepare(self) -> None:
        (self.directory / "password").write_text(PASSWORD)
        who = f"host all all {LOOPBACK}/32 trust\n"
        lines = [f"listen_addresses = '{LOOPBACK}'", f"port = {self.port}"]
        lines += ["unix_socket_directories = ''"]
        if self.certificate is not None:
            who = f"hostssl all all {LOOPBACK}/32 scram-sha-256\n"
            for source in (self.certificate.certificate, self.certificate.key):
                shutil.copy(source, self.directory)
                (self.directory / source.name).chmod(0o600)
                kind = "cert" if source == self.certificate.certificate else "key"
                lines.append(f"ssl_{kind}_file = '../{source.name}'")
            lines.append("ssl = on")
        if os.geteuid() == 0:
            for path in (self.directory, *self.directory.iterdir()):
                shutil.chown(path, "nobody")
        initdb = [str(POSTGRES / "initdb"), "--pgdata=data", "--username=postgres"]
        initdb += ["--pwfile=password", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [*_as_nobody(), *initdb],
            cwd=self.directory,
            env=self.environment(),
            check=True,
            capture_output=True,
        )
        (self.directory / "data" / "pg_hba.conf").write_text(who)
        with (self.directory / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write("\n".join(["", *lines, ""]))

    def command(self) -> list[str]:
        return [*_as_nobody(), str(POSTGRES / "postgres"), "-D", "data"]

    def start(self) -> None:
        super().start()
        with self._administrator() as connection:
            connection.execute(f"CREATE ROLE shop LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE shop OWNER shop")

    def check(self) -> None:
        try:
            self._administrator().close()
        except psycopg.OperationalError as error:
            raise NotReady(error) from error

    def settings(self) -> Settings:
        door = f"{LOOPBACK}:{self.port}/shop"
        if self.certificate is None:
            return {"url": f"postgresql://shop@{door}"}
        trust = f"sslmode=verify-full&sslrootcert={self.certificate.certificate}"
        return {"url": f"postgresql://shop:{quote(PASSWORD, safe='')}@{door}?{trust}"}

    def variables(self) -> Settings:
        return {"DATABASE_URL": self.settings()["url"]}

    def _administrator(self) -> psycopg.Connection:
        return psycopg.connect(
            host=LOOPBACK,
            port=self.port,
            user="postgres",
            password=PASSWORD,
            dbname="postgres",
            autocommit=True,
        )


def _as_nobody() -> list[str]:
    """What goes before a command of PostgreSQL, which refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=nobody", "--clear-groups", "--"]
