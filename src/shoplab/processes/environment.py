"""The environment variables of processes that talk to servers on this machine."""

from __future__ import annotations

from collections.abc import Mapping

WITHOUT_PROXY = ("127.0.0.1", "localhost", "::1")


def loopback_without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, with the loopback exempt from any ``HTTP_PROXY``."""
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    names = [name for name in exempt.split(",") if name]
    value = ",".join(names + [name for name in WITHOUT_PROXY if name not in names])
    return dict(environment) | {"NO_PROXY": value, "no_proxy": value}
