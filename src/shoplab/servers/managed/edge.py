"""The edge: it ends TLS in front of servers that have none, as providers do at theirs.

It knows no password. Whoever has come through it still has to log in at the server.
``python -m shoplab.servers.managed.edge CERTIFICATE redis PORT TARGET postgres PORT TARGET``, where
a target is a port of 127.0.0.1 or the path of a Unix socket.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import sys
from contextlib import closing, suppress

from shoplab.ports import LOOPBACK

BLOCK = 1 << 16

WANTS_TLS, WANTS_GSS = 80877103, 80877104
"""What a client of PostgreSQL asks before anything else; see "Message Formats" in its manual."""

REFUSAL = b"SFATAL\0VFATAL\0C28000\0Mthis server wants TLS: set sslmode=verify-full\0\0"
"""The answer to a client of PostgreSQL that does not ask for TLS."""


class Edge:
    """Takes connections in by TLS, and passes on what comes, either way, until one side ends."""

    def __init__(self, certificate: str) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)

    async def open(self, kind: str, port: int, target: str) -> asyncio.Server:
        """Open a door. At Redis's, TLS comes first; at PostgreSQL's, the client asks for it."""

        async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer), suppress(OSError, EOFError, ssl.SSLError):
                if kind == "redis" or await self._agree(reader, writer):
                    await _pass_on(reader, writer, target)

        tls = self.context if kind == "redis" else None
        return await asyncio.start_server(enter, LOOPBACK, port, ssl=tls)

    async def _agree(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer what a client of PostgreSQL asks for; whether it is TLS."""
        _, wanted = struct.unpack("!ii", await reader.readexactly(8))
        while wanted == WANTS_GSS:
            writer.write(b"N")
            _, wanted = struct.unpack("!ii", await reader.readexactly(8))
        if wanted != WANTS_TLS:
            writer.write(b"E" + struct.pack("!i", 4 + len(REFUSAL)) + REFUSAL)
            await writer.drain()
            return False
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(self.context)
        return True


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
    if target.startswith("/"):
        inner, outer = await asyncio.open_unix_connection(target)
    else:
        inner, outer = await asyncio.open_connection(LOOPBACK, int(target))
    with closing(outer):
        ways = {asyncio.create_task(_one_way(reader, outer))}
        ways.add(asyncio.create_task(_one_way(inner, writer)))
        _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in left:
            way.cancel()


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(BLOCK):
            writer.write(data)
            await writer.drain()


async def main(certificate: str, *doors: str) -> None:
    """Open the doors and keep them open."""
    edge = Edge(certificate)
    for kind, port, target in zip(doors[::3], doors[1::3], doors[2::3], strict=True):
        await edge.open(kind, int(port), target)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
