"""What set-up, kernels with their children, and servers may see of the user's environment.

A shell is full of settings that are meant for somebody's other work: pip's for a private index, a
tracer's for a company's collector, a JVM's flags, a database's host. One rule for each of ours:

- **set-up** (``for_setup``): everything but what redirects an installation;
- **a kernel and its children** (``for_processes``): everything but what changes how the course's
  own libraries behave; ``apply_here`` does it to the process that runs;
- **a server** (``for_servers``): nothing but what a program needs to run at all.

This module needs the standard library only: ``tools/setup.py`` loads it before there is more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

NO_PROXY = ("127.0.0.1", "localhost", "::1")

NOT_FOR_SETUP = re.compile(
    # Where and how pip and uv install is ours to say; from where, and trusting whom, is the user's.
    r"PIP_(?!(INDEX_URL|EXTRA_INDEX_URL|CERT|PROXY|TRUSTED_HOST|TIMEOUT|DEFAULT_TIMEOUT|RETRIES|"
    r"CACHE_DIR|NO_CACHE_DIR|CONFIG_FILE)$)\w+"
    r"|UV_(?!(DEFAULT_INDEX|INDEX_URL|INDEX|EXTRA_INDEX_URL|CACHE_DIR|NO_CACHE|OFFLINE|"
    r"HTTP_TIMEOUT|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|LINK_MODE|INDEX_\w+)$)\w+"
    r"|VIRTUAL_ENV|CONDA_PREFIX|PYTHON(PATH|HOME|STARTUP|USERBASE|WARNINGS|OPTIMIZE|SAFEPATH)"
)
"""Left out of set-up's environment."""

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


def for_setup(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of pip, uv and whatever else set-up runs."""
    return _without(NOT_FOR_SETUP, environment)


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
