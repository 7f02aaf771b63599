"""Servers that are not what their address says."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from certificates import make_certificate
from impostors import Talk, listening


@pytest.fixture
def serve() -> Iterator[Callable[[Talk], str]]:
    """Start such servers until the test ends."""
    with ExitStack() as servers:
        yield lambda talk: servers.enter_context(listening(talk))


@pytest.fixture
def untrusted(tmp_path: Path) -> Talk:
    """A talk that begins with TLS, by a certificate that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path).both)
    return lambda connection: context.wrap_socket(connection, server_side=True).recv(1)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose sockets have names that are short enough for every system."""
    with TemporaryDirectory(dir="/tmp") as directory:
        yield Path(directory)
