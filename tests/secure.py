"""HTTPS on the loopback, by a certificate that nobody trusts unless told to."""

from __future__ import annotations

import ssl
from http.server import HTTPServer
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""A key, the certificate of localhost and 127.0.0.1, that of its authority; valid until 2120.

The key is no secret: nothing but these tests trusts what it signs.
"""


def secure(server: HTTPServer) -> None:
    """Let a server that is not serving yet speak TLS, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server.socket = context.wrap_socket(server.socket, server_side=True)
