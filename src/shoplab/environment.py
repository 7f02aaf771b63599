"""What set-up, kernels with their children, and servers may see of the user's environment.

A shell is full of settings that are meant for somebody's other work: pip's for a private index, a
tracer's for a company's collector, a JVM's flags, a database's host. One rule for each of ours:

- **set-up** (``for_setup``): everything but what redirects an installation; pip's mirror for all;
- **a kernel and its children** (``for_processes``): everything but what changes how the course's
  own libraries behave; ``apply_here`` does it to the process that runs;
- **a server** (``for_servers``): nothing but what a program needs to run at all.

This module needs the standard library only: ``tools/setup.py`` loads it before there is more.
"""

from __future__ import annotations

import os
import re
from ast import literal_eval
from collections.abc import Mapping

NO_PROXY = ("127.0.0.1", "localhost", "::1")

NOT_FOR_SETUP = re.compile(
    # Where and how pip and uv install is ours to say. What pip may keep comes back by MIRROR.
    r"PIP_\w+|UV_(?!(CACHE_DIR|NO_CACHE|LINK_MODE|HTTP_TIMEOUT|CONCURRENT_\w+)$)\w+"
    r"|VIRTUAL_ENV|CONDA_PREFIX|PYTHON\w+"
)
"""Left out of set-up's environment."""

MIRROR = {
    "index_url": ("UV_DEFAULT_INDEX",),
    "extra_index_url": ("UV_INDEX",),
    "trusted_host": ("UV_INSECURE_HOST",),
    "cert": (),
    "client_cert": ("SSL_CLIENT_CERT",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
    "timeout": (),
    "default_timeout": (),
    "retries": (),
    "cache_dir": (),
    "no_cache_dir": (),
}
"""pip's settings of where packages come from, each with the variables that say it to the others."""

CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name a file of certificates: the first that is set counts for every download."""

TRUST = (
    "name the file (PEM) with the certificate of your network's proxy or mirror in PIP_CERT: "
    "it counts for every download"
)
"""The next step where a certificate is not trusted."""

NOT_FOR_PROCESSES = re.compile(
    r"OTEL_\w+"  # the lab's tracing is its own
    r"|AWS_\w+|BOTO_CONFIG"  # so is its queue, which stands on this machine
    r"|PG\w+"  # a client of ours is told every address; libpq would fill in the rest from these
    r"|GRPC_\w+"
    r"|SQLALCHEMY_\w+|WEB_CONCURRENCY|FORWARDED_ALLOW_IPS"
    r"|PYTHON(STARTUP|OPTIMIZE|WARNINGS|INSPECT|VERBOSE|ASYNCIODEBUG|DEVMODE|HOME)"
)
"""Left out of the environment of kernels and of what they start."""

FOR_SERVERS = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|SHOPLAB_RUN"
    r"|__CF_USER_TEXT_ENCODING|NIX_LD\w*"  # what macOS and the loader of NixOS look for
)
"""All that a server sees of the user's environment."""


def for_setup(environment: Mapping[str, str], listed: str = "") -> dict[str, str]:
    """The environment of pip, uv and whatever else set-up runs.

    ``listed`` is what ``pip config list`` says of pip's configuration files. One mirror, with the
    certificate and the proxy that it takes, serves all: the one that the user has named for pip,
    in a variable or in a file. Nothing else in these files counts, and nothing in uv's own.
    """
    made = _without(NOT_FOR_SETUP, environment)
    for name, value in _pip_settings(environment, listed).items():
        if name in MIRROR:
            made |= dict.fromkeys((f"PIP_{name.upper()}", *MIRROR[name]), value)
    if trusted := certificates(made):
        made |= dict.fromkeys(CERTIFICATES, trusted)
    # Of several indexes uv takes the first that has a package, pip any; the lock's hashes decide.
    return made | {
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_CONFIG": "1",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def certificates(environment: Mapping[str, str]) -> str | None:
    """The file of certificates to trust in a download; None where the user has named none."""
    return next(filter(None, map(environment.get, CERTIFICATES)), None)


def for_processes(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a kernel's children; the loopback is exempt from any ``HTTP_PROXY``."""
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    names = [name for name in exempt.split(",") if name]
    spared = ",".join(names + [name for name in NO_PROXY if name not in names])
    return _without(NOT_FOR_PROCESSES, environment) | {"NO_PROXY": spared, "no_proxy": spared}


def for_servers(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server, in a locale and a time zone that exist everywhere."""
    kept = {name: value for name, value in environment.items() if FOR_SERVERS.fullmatch(name)}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def apply_here() -> None:
    """Give this process the environment that its children get."""
    wanted = for_processes(os.environ)
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update(wanted)


def _without(pattern: re.Pattern[str], environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not pattern.fullmatch(name)}


def _pip_settings(environment: Mapping[str, str], listed: str) -> dict[str, str]:
    """pip's settings, by name: what its variables say goes before what its files say."""
    lines = re.findall(r"^(global|install)\.([\w-]+)=(.+)$", listed, flags=re.MULTILINE)
    lines.sort(key=lambda line: line[0] == "install")  # stable: of several files the last counts
    found = {name.replace("-", "_"): str(literal_eval(value)) for _, name, value in lines}
    for variable, value in environment.items():
        if variable.startswith("PIP_") and value:
            found[variable.removeprefix("PIP_").lower()] = value
    one_line = {name: " ".join(value.split()) for name, value in found.items()}
    # An address stays as it is (PTH: Path would break it); the `~` of a file is pip's own idea.
    return {name: os.path.expanduser(value) for name, value in one_line.items()}  # noqa: PTH111
