"""How many bytes go over connections: a forwarder between clients and servers that counts them.

It counts what programs say to each other. The headers of TCP and IP, encryption and what is sent
again are not in it. It needs no rights, and works on every system that has sockets.
"""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from urllib.parse import urlsplit

from shoplab.ports import LOOPBACK

PIECE = 65536
"""Bytes that are passed on at a time, at most."""

ADDRESS_BYTES = {1: 4, 4: 16}
"""Length of an address in SOCKS by its kind, IPv4 or IPv6 (RFC 1928)."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Wire:
    """Forwards connections and counts their bytes, both ways, by the name of what they are for.

    >>> with Wire() as wire:  # doctest: +SKIP
    ...     url = wire.through("http://127.0.0.1:20000", "http")
    ...     wire.bytes["http"]
    """

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def through(self, url: str, name: str) -> str:
        """An address that leads to ``url``, over this wire."""
        target = urlsplit(url)

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._join(name, reader, writer, str(target.hostname), int(target.port or 80))

        return target._replace(netloc=f"{LOOPBACK}:{self._serve(forward)}").geturl()

    def proxy(self, name: str) -> str:
        """The address of a SOCKS5 proxy on this wire, such as the ``proxy_url`` of kafka-python."""

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _, methods = await reader.readexactly(2)
            await reader.readexactly(methods)
            writer.write(bytes([5, 0]))
            *_, kind = await reader.readexactly(4)
            length = ADDRESS_BYTES.get(kind) or (await reader.readexactly(1))[0]
            address, port = await reader.readexactly(length), await reader.readexactly(2)
            writer.write(bytes([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
            await self._join(name, reader, writer, _host(kind, address), int.from_bytes(port))

        return f"socks5://{LOOPBACK}:{self._serve(forward)}"

    def close(self) -> None:
        """Cut all connections. Safe to repeat."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def __enter__(self) -> Wire:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut all connections."""
        self.close()

    def _serve(self, forward: Handler) -> int:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.IncompleteReadError):
                await forward(reader, writer)
            writer.close()

        serving = asyncio.start_server(handle, LOOPBACK, 0, backlog=2048)
        server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _join(
        self,
        name: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: str,
        port: int,
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        pass_on = partial(self._pass_on, name)
        try:
            await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))
        finally:
            far_writer.close()

    async def _pass_on(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while piece := await reader.read(PIECE):
                self.bytes[name] += len(piece)
                writer.write(piece)
                await writer.drain()
        finally:
            writer.close()


def _host(kind: int, address: bytes) -> str:
    return str(ipaddress.ip_address(address)) if kind in ADDRESS_BYTES else address.decode()
