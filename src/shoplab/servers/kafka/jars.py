"""Fetch Kafka's jars from a Maven repository into the cache, each one verified."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import requests
from jgo.constants import MAVEN_CENTRAL_URL  # jgo knows the address; no file of ours names a host
from tqdm import tqdm

from shoplab.environment import CERTIFICATES, TRUST, certificates
from shoplab.errors import SetupError
from shoplab.locks import exclusive
from shoplab.paths import DISK_NEEDED_MB, cache_directory, private_directory

LIST = Path(__file__).with_name("jars.txt")
MIRROR_VARIABLE = "SHOPLAB_MAVEN_MIRROR"
PARALLEL = 8
ATTEMPTS = 3
TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and seconds without a byte, after which a download counts as cut off."""
BLOCK = 1 << 16
PAUSE = 0.5
"""Seconds before the second attempt; twice as many before the third."""
LOCK_PATIENCE = 1800.0
"""Seconds to wait for another set-up, whose network may be slow."""

NEXT_STEP = (
    f"check the network and HTTPS_PROXY, or name a mirror of Maven Central in {MIRROR_VARIABLE}"
)

TLS_REASON = re.compile(r"\[([\w: ]+)\] (.+?) \(_ssl\.c")
"""Where, in what requests says, OpenSSL says why: its name for it, and its words."""


@dataclass(frozen=True)
class Jar:
    """One line of the list: Maven coordinates, SHA-256 in hexadecimal, size in bytes."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's name, in the repository and in the cache."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def path(self) -> str:
        """Where a Maven repository keeps the file."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.name}"


class _Transient(Exception):
    """A failure that another attempt may not meet; the message says what it was."""


def listed_jars() -> list[Jar]:
    """The jars that a broker needs, in the order of the class path."""
    jars = []
    for line in LIST.read_text().splitlines():
        coordinates, sha256, size = line.split()
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, sha256, int(size)))
    return jars


def jar_directory() -> Path:
    """Where the jars are kept."""
    return cache_directory() / "jars"


def missing_jars() -> list[Jar]:
    """The listed jars that are not in the cache, or not with their size. Needs no network."""
    directory = jar_directory()
    return [jar for jar in listed_jars() if not _complete(directory / jar.name, jar)]


def fetch_jars(progress: bool = True) -> list[Path]:
    """Return the paths of all jars, after fetching those that are missing.

    With ``progress``, standard error shows a bar in bytes, or two lines where it is no terminal.
    A jar comes into the cache whole and verified or not at all; a second fetch at the same time
    waits for the first. Raises ``SetupError``.
    """
    with disk_errors():
        directory = private_directory(jar_directory())
        if missing_jars():
            with exclusive(directory / ".lock", LOCK_PATIENCE):
                _fetch(missing_jars(), directory, progress)
    return [directory / jar.name for jar in listed_jars()]


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn a write to the cache that fails into a ``SetupError``."""
    try:
        yield
    except OSError as error:
        place = error.filename or "the cache directory"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SetupError(
                f"The disk is full, so {place} cannot be written.",
                next_step=f"free {DISK_NEEDED_MB} MB there, or name another one in SHOPLAB_CACHE",
            ) from error
        raise SetupError(
            f"{place} cannot be written ({error.strerror or error}).",
            next_step="make it writable, or name another directory in SHOPLAB_CACHE",
        ) from error


def _fetch(jars: list[Jar], directory: Path, progress: bool) -> None:
    trusted = certificates(os.environ)
    if trusted and not Path(trusted).exists():
        raise SetupError(
            f"The file of certificates {trusted} is not there.",
            next_step=f"correct or unset the variable that names it: {', '.join(CERTIFICATES)}",
        )
    total = sum(jar.size for jar in jars)
    terminal = sys.stderr.isatty()
    if progress and jars and not terminal:
        print(f"Fetching {len(jars)} jars of Kafka, {total / 1e6:.0f} MB", file=sys.stderr)
    hidden = not (progress and jars and terminal)
    stop = Event()
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc="Kafka", disable=hidden) as bar,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        fetches = [pool.submit(_fetch_one, jar, directory, stop, bar.update) for jar in jars]
        try:
            for fetch in as_completed(fetches):
                fetch.result()
        except BaseException:  # Ctrl+C too: the other downloads end at their next block
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(jar: Jar, directory: Path, stop: Event, advance: Callable[[int], object]) -> None:
    base = os.environ.get(MIRROR_VARIABLE) or MAVEN_CENTRAL_URL
    url = f"{base.rstrip('/')}/{jar.path}"
    draft = directory / f"{jar.name}.part"
    try:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _download(url, jar, draft, stop, advance)
                draft.replace(directory / jar.name)
                return
            except _Transient as reason:
                if attempt == ATTEMPTS:
                    raise SetupError(
                        f"{jar.name} could not be fetched from {url}: {reason}"
                        f" (at the last of {ATTEMPTS} attempts).",
                        next_step=NEXT_STEP,
                    ) from reason
            stop.wait(PAUSE * attempt)
    finally:
        draft.unlink(missing_ok=True)


def _download(
    url: str, jar: Jar, draft: Path, stop: Event, advance: Callable[[int], object]
) -> None:
    """Write the verified jar to ``draft``, or raise ``_Transient``, ``SetupError``, ``OSError``."""
    digest = hashlib.sha256()
    received = 0
    trusted = certificates(os.environ) or True
    try:
        with (
            requests.get(url, stream=True, timeout=TIMEOUT, verify=trusted) as answer,
            draft.open("wb") as file,
        ):
            if answer.status_code >= 500 or answer.status_code == 429:
                raise _Transient(f"the server answered {answer.status_code} {answer.reason}")
            if answer.status_code != 200:
                raise _refusal(url, f"answers {answer.status_code} {answer.reason}")
            if "html" in answer.headers.get("Content-Type", ""):
                raise _refusal(url, "is an HTML page, not a jar (a proxy's or a login page?)")
            for block in answer.iter_content(BLOCK):
                if stop.is_set():
                    raise _Transient("another download failed")
                file.write(block)
                digest.update(block)
                received += len(block)
                advance(len(block))
                if received > jar.size:
                    break
        if received < jar.size:
            raise _Transient(f"cut off after {received} of {jar.size} bytes")
        if received > jar.size or digest.hexdigest() != jar.sha256:
            raise _refusal(url, "is not the jar we know: its SHA-256 checksum is wrong")
    except (requests.RequestException, _Transient) as error:
        advance(-received)
        if isinstance(error, _Transient):
            raise
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise _untrusted(url, error) from error
        raise _Transient(_in_short(error)) from error


def _refusal(url: str, what: str) -> SetupError:
    return SetupError(f"{url} {what}.", next_step=NEXT_STEP)


def _untrusted(url: str, error: requests.RequestException) -> SetupError:
    proxy = isinstance(error, requests.exceptions.ProxyError)
    whose = "the proxy" if proxy else urlsplit(url).hostname
    return SetupError(
        f"The certificate of {whose} is not trusted ({_tls_reason(error)}).", next_step=TRUST
    )


def _tls_reason(error: requests.RequestException) -> str:
    found = TLS_REASON.search(str(error))
    return found[2] if found else str(error)


def _in_short(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be reached"
    if isinstance(error, requests.exceptions.Timeout) or "Read timed out" in str(error):
        return "the server does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return f"no secure connection ({_tls_reason(error)})"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "cut off"
    return str(error)


def _complete(path: Path, jar: Jar) -> bool:
    try:
        return path.stat().st_size == jar.size
    except FileNotFoundError:
        return False
