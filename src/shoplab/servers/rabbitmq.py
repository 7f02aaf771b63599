"""A RabbitMQ that is installed on the machine, started in a directory of its own.

No Python package carries one, so it runs only where ``rabbitmq-server`` is on the path (Debian's
and Homebrew's are known). It has its own node, ports, cookie and data: nothing of a RabbitMQ that
the machine runs as a service is touched.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import subprocess
from functools import cache
from pathlib import Path

from shoplab.errors import PortTaken, ServerError, SetupError
from shoplab.ports import LOOPBACK, free_ports
from shoplab.servers.programs import MORE_FILES, MORE_MEMORY, Unfit, advice, ask
from shoplab.servers.server import NotReady, Server, Settings

USER = "shop"

DISK_FREE_MB = 50
"""A RabbitMQ takes no messages while its disk has less free than this."""

CONFIGURATION = """
listeners.tcp.default = {address}:{port}
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = {free}MB
log.file = false
log.console = true
log.console.level = warning
"""

ERLANG_ARGUMENTS = " ".join(
    [
        "-noinput",  # the script says so only where it does not replace itself by the server
        "+S 2:2",  # two schedulers are enough, and they spin less
        "+sbwt none",
        "-kernel inet_dist_use_interface {127,0,0,1}",
    ]
)


@cache
def script() -> Path | None:
    """The server's own start script; None where RabbitMQ, or Erlang's name server, is missing.

    Debian's command on the path is a wrapper that changes the user; its own script lies beside it,
    in ``lib/rabbitmq/bin``.
    """
    found = shutil.which("rabbitmq-server", path=_search_path())
    if found is None or shutil.which("epmd", path=_search_path()) is None:
        return None
    behind_wrapper = Path(found).parent.parent / "lib" / "rabbitmq" / "bin" / "rabbitmq-server"
    return behind_wrapper if behind_wrapper.exists() else Path(found).resolve()


def installed() -> bool:
    """Whether a RabbitMQ can be started here."""
    return script() is not None


@cache
def version() -> str:
    """Which Erlang would run the RabbitMQ that is installed here, for example ``Erlang/OTP 25``.

    Raises ``SetupError`` where that does not run. (RabbitMQ tells its own version only by a program
    that leaves another behind.)
    """
    release = "io:put_chars(erlang:system_info(otp_release)), halt()."
    try:
        return f"Erlang/OTP {ask('erl', '-noinput', '-eval', release)}"
    except Unfit as reason:
        raise SetupError(
            f"RabbitMQ's Erlang does not run here: erl {reason}.",
            next_step=advice(str(reason)) or "set RABBITMQ_URL to a server you have",
        ) from None


def _search_path() -> str:
    """The user's path and ``/usr/sbin``, which users other than root seldom have on it."""
    return os.pathsep.join(filter(None, [os.environ.get("PATH"), "/usr/sbin"]))


class RabbitMQ(Server):
    """A RabbitMQ on the loopback with a password, and the name server that Erlang insists on."""

    port_taken = ("eaddrinuse", "dist_port_already_used")

    last_words = (
        *Server.last_words,
        ("disk resource limit alarm", f"free {DISK_FREE_MB} MB on the disk, then start again"),
        ("enospc", "free some space on the disk, then start again"),
        ("eacces", "make {directory} yours to write, then start again"),
        ("erofs", "make {directory} yours to write, then start again"),
        ("emfile", MORE_FILES),
        ("enomem", MORE_MEMORY),
        ("Failed to create super carrier", MORE_MEMORY),
    )

    def __init__(self, directory: Path, home: Path) -> None:
        super().__init__("rabbitmq", directory, home)
        self.password = secrets.token_urlsafe(24)
        self.port = self.names_port = self.distribution_port = 0
        self.names: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Choose ports, write the configuration, start ``epmd`` as a process of ours."""
        if script() is None:
            raise ServerError(
                "RabbitMQ is not installed here: no rabbitmq-server is on the path.",
                next_step="install it (Debian's rabbitmq-server, Homebrew's rabbitmq), "
                "or set RABBITMQ_URL to a server you have",
            )
        self.port, self.names_port, self.distribution_port = free_ports(3)
        configuration = self.directory / "rabbitmq.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            CONFIGURATION.format(
                address=LOOPBACK,
                port=self.port,
                user=USER,
                password=self.password,
                free=DISK_FREE_MB,
            )
        )
        (self.directory / "enabled_plugins").write_text("[].\n")
        # The server would start one that outlives it.
        with self.log.open("ab") as log:
            self.names = subprocess.Popen(
                ["epmd", "-port", str(self.names_port), "-address", LOOPBACK],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                cwd=self.directory,
            )

    def command(self) -> list[str]:
        """The start script, which replaces itself by the server."""
        return [str(script())]

    def environment(self) -> dict[str, str]:
        """Everything that a node would share with others is its own here."""
        own = {
            "HOME": self.directory,  # takes Erlang's cookie
            "RABBITMQ_HOME": self.directory,
            "RABBITMQ_NODENAME": f"shoplab-{self.port}@localhost",
            "RABBITMQ_BASE": self.directory,
            "RABBITMQ_MNESIA_BASE": self.directory / "data",
            "RABBITMQ_LOG_BASE": self.directory / "log",
            "RABBITMQ_CONFIG_FILE": self.directory / "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.directory / "enabled_plugins",
            "RABBITMQ_CONF_ENV_FILE": self.directory / "none",
            "RABBITMQ_DIST_PORT": self.distribution_port,
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": ERLANG_ARGUMENTS,
            "ERL_EPMD_PORT": self.names_port,
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "PATH": _search_path(),
        }
        return super().environment() | {name: str(value) for name, value in own.items()}

    def check(self) -> None:
        """Publish a message and fetch it back."""
        if self.names is not None and self.names.poll() is not None:
            raise PortTaken(  # it says nothing of it
                "RabbitMQ's name server, epmd, ended as soon as it was started.",
                next_step="another program may have its port: try again",
            )
        import pika  # no other server needs it
        from pika.adapters.utils.connection_workflow import AMQPConnectorException

        logging.getLogger("pika").setLevel(logging.CRITICAL)  # a server that starts is no error
        limits = (
            "connection_attempts=1&socket_timeout=5&stack_timeout=5&blocked_connection_timeout=1"
        )
        parameters = pika.URLParameters(f"{self.settings()['url']}?{limits}")
        try:
            with pika.BlockingConnection(parameters) as connection:
                channel = connection.channel()
                queue = channel.queue_declare("", exclusive=True).method.queue
                channel.confirm_delivery()
                channel.basic_publish("", queue, b"ready")
                _, _, body = channel.basic_get(queue, auto_ack=True)
        except pika.exceptions.ConnectionBlockedTimeout as error:
            raise ServerError(
                "rabbitmq is up, but takes no message.",
                next_step="read the log above; it does so where disk or memory are short",
                log=self.log,
            ) from error
        except (pika.exceptions.AMQPError, AMQPConnectorException, OSError) as error:
            raise NotReady(repr(error)) from error
        if body != b"ready":
            raise NotReady(f"it answers {body!r}")

    def settings(self) -> Settings:
        """``url``, for ``pika.URLParameters``."""
        return {"url": f"amqp://{USER}:{self.password}@{LOOPBACK}:{self.port}/%2F"}

    def program(self) -> str:
        """For example ``RabbitMQ 3.10.8``, as its own banner says."""
        banner = re.search(r"RabbitMQ(?:\x1b\[0m)? ([\d.]+)", self.log.read_text(errors="replace"))
        return f"RabbitMQ {banner[1]}" if banner else "RabbitMQ"

    def stop(self) -> None:
        """Stop the server, and the name server."""
        super().stop()
        self._end_names()

    def kill(self) -> None:
        """End both by SIGKILL."""
        super().kill()
        self._end_names()

    def _end_names(self) -> None:
        if self.names is not None:
            self.names.kill()
            self.names.wait()
            self.names = None
