"""How exact the load generator is on this machine: its load on a target that does nothing.

``make bench`` prints the p99 lateness at several rates. The target runs in a process of its own,
so that the two do not wait for one another's turn.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys

from shoplab.errors import LoadError
from shoplab.measure.load import LoadResult, offer

ANSWER = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


class Target(asyncio.Protocol):
    """Answers each GET at once with 204."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once for every end of a request's head."""
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def serve() -> None:
    """Print the port, then serve until stdin ends, as it does when the parent goes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Target, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def measure_accuracy(rate: float, seconds: float = 3.0) -> LoadResult:
    """Offer ``rate`` requests a second to a trivial target; the result tells the lateness."""
    with subprocess.Popen(
        [sys.executable, "-m", "shoplab.measure.accuracy"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as target:
        assert target.stdin is not None and target.stdout is not None
        port = target.stdout.readline().strip()
        if not port:
            raise LoadError(
                "The target of the accuracy measurement did not start.",
                next_step="run `python -m shoplab.measure.accuracy` to see why",
            )
        try:
            return offer(f"http://127.0.0.1:{port}/", rate=rate, seconds=seconds)
        finally:
            target.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve())
