"""Which tests start a server, a service or a kernel: they have the mark ``server``.

`make test-quick` leaves them out. The mark comes with the fixtures that start one, and a test that
starts one without the mark fails, so nobody has to remember.
"""

from __future__ import annotations

import os
import re
import sys

STARTERS = {
    *("database", "home", "installation", "kafka"),
    *("lab", "local", "notebook", "place", "server", "traced"),
}
"""The fixtures that start a server or a service, or make what does."""

SERVERS = re.compile(
    r"shoplab\.(stack\.supervisor|processes\.child)|kafka\.Kafka|ipykernel"
    r"|/(initdb|postgres|(redis|valkey|rabbitmq)-server)(?!\S| --version)"
)
"""In the command line of a server, a service or a kernel."""

started: list[str] = []
"""The command lines of those that this process has started."""


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Hear of every process that this one starts."""
    if event == "subprocess.Popen" and isinstance(arguments[1], list):
        line = " ".join(map(os.fsdecode, arguments[1]))
        if SERVERS.search(line):
            started.append(line)


sys.addaudithook(note)
