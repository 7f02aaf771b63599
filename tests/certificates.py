"""A certificate for 127.0.0.1 that vouches for itself."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """Its files: the certificate, its private key, and both in one."""

    certificate: Path
    key: Path
    both: Path


def make_certificate(directory: Path) -> Certificate:
    """Make one, with its key; whoever trusts it as an authority trusts its holder."""
    made = Certificate(*(directory / f"{name}.pem" for name in Certificate._fields))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=elsewhere", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", made.key, "-out", made.certificate),
        ],
        check=True,
        capture_output=True,
    )
    made.both.write_text(made.key.read_text() + made.certificate.read_text())
    return made
