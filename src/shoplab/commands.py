"""What the console command ``shoplab`` can do."""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import click

from shoplab.doctor import examine
from shoplab.errors import DeadlineError, ServerError, last_lines
from shoplab.locks import exclusive, held
from shoplab.paths import home_directory
from shoplab.servers import external
from shoplab.servers.kinds import SHARED
from shoplab.stack import Stack
from shoplab.stack.lease import find_lease, supervisors
from shoplab.stack.leftovers import sweep
from shoplab.stack.wire import Down, ServerReport, Status, StatusReport
from shoplab.waiting import until

STOP_TIMEOUT = 60.0
"""Seconds that all servers together may take to stop."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Live local servers for the course: Apache Kafka, Redis and PostgreSQL."""


@commands.command()
def setup() -> None:
    """Bring what the servers need: jars, a Java, a class cache. Safe to repeat."""
    from shoplab.servers.kafka.setup import is_set_up, set_up
    from shoplab.servers.postgres import version
    from shoplab.servers.redis import find_binary

    if is_set_up():
        find_binary()
        version()
        return
    installation = set_up()
    click.echo(
        f"Ready: Apache Kafka on {installation.java.description}, {find_binary()}, {version()}."
    )


@commands.command()
def up() -> None:
    """Start all servers and keep them up until `shoplab down`."""
    with Stack() as stack:
        with ThreadPoolExecutor(len(SHARED)) as pool:
            list(pool.map(_start, SHARED))
        if not all(external.named(kind) for kind in SHARED):
            stack.pin()
        _show(stack.status())


def _start(kind: str) -> None:
    """Start one server over a lease of its own, so that the three start side by side."""
    with Stack() as stack:
        stack.use(kind)


@commands.command()
def down() -> None:
    """Stop all servers, whoever uses them, and remove their data."""
    home = home_directory()
    try:
        lease = find_lease(home)
    except ServerError:  # it runs and does not answer, or not in our words
        if not supervisors(home):
            raise
        lease = None
    if lease is None:
        click.echo(_end_unreachable(home))
        return
    running = supervisors(home)
    with closing(lease):
        users = lease.request(Status())["leases"]
        lease.request(Down())
        with exclusive(home / "supervisor.lock", STOP_TIMEOUT):
            _await_end(home, running)
    click.echo("Stopped." + (f" Other users at that moment: {users}." if users else ""))


def _end_unreachable(home: Path) -> str:
    """End a supervisor that nobody can talk to, and servers that have none; say what was done."""
    lock = home / "supervisor.lock"
    if not held(lock):
        with exclusive(lock, STOP_TIMEOUT):
            left = sweep(home)
        return f"Ended {left} servers without a supervisor." if left else "Nothing was running."
    for number in (signal.SIGTERM, signal.SIGKILL):
        running = supervisors(home)
        for pid in running:
            _signal(pid, number)
            _signal(pid, signal.SIGCONT)  # one that is stopped hears SIGTERM only then
        with suppress(DeadlineError), exclusive(lock, STOP_TIMEOUT):
            sweep(home)
            _await_end(home, running)
            return "Stopped a supervisor that could not be reached, and its servers."
    raise ServerError(
        f"{lock} is held by a process that cannot be seen from here.",
        next_step="run `shoplab down` where that process runs: in another container, say",
    )


def _await_end(home: Path, pids: list[int]) -> None:
    """Wait until none of these supervisors runs: one that ends has let go of its lock before."""
    until(lambda: not set(pids) & set(supervisors(home)), STOP_TIMEOUT)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Everything, passwords too, as JSON.")
def status(as_json: bool) -> None:
    """Show what runs."""
    found = Stack().status()
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        _show(found)


@commands.command()
def doctor() -> None:
    """Check everything the servers need; exit status 1 if something is wrong."""
    problems = 0
    for finding in examine():
        problems += not finding.good
        click.echo(f"{'ok     ' if finding.good else 'PROBLEM'}  {finding.what}")
        if finding.next_step:
            click.echo(f"         next: {finding.next_step}")
    sys.exit(1 if problems else 0)


@commands.command()
@click.argument("which", type=click.Choice([*SHARED, "supervisor"]), required=False)
@click.option("-n", "count", default=20, show_default=True, help="Lines of each log.")
def logs(which: str | None, count: int) -> None:
    """Show the end of the logs: of the servers that run, else of those that ran last."""
    found = Stack().status()
    for kind in [which] if which else [*SHARED, "supervisor"]:
        path = _log(kind, found)
        click.echo(f"== {kind}: {path}")
        for line in last_lines(path, count) if path.exists() else ["(nothing yet)"]:
            click.echo(line)


def _log(kind: str, found: StatusReport | None) -> Path:
    home = home_directory()
    if kind == "supervisor":
        return home / "supervisor.log"
    current = found["servers"][kind].get("log") if found else None
    return Path(current) if current else home / "logs" / f"{kind}.log"


def _show(found: StatusReport | None) -> None:
    nothing: dict[str, ServerReport] = {kind: {"state": "not started"} for kind in SHARED}
    servers = found["servers"] if found else nothing
    for kind, server in servers.items():
        if external.named(kind):
            click.echo(f"{kind:9} elsewhere ({external.VARIABLES[kind]})")
            continue
        click.echo(f"{kind:9} {server['state']}")
        if server["state"] == "running":
            settings = server["settings"]
            address = settings.get("url") or settings["bootstrap_servers"]
            click.echo(f"          {server['program']}, {server['memory_mb']:.0f} MB")
            click.echo(f"          {external.masked(address)}")
            click.echo(f"          pid {', '.join(map(str, server['pids']))}, log {server['log']}")
    if found:
        stays = (
            "until `shoplab down`" if found["pinned"] else f"{found['grace_s']:g} s after the last"
        )
        pid, users = found["supervisor"]["pid"], found["leases"]
        click.echo(f"supervisor pid {pid}, users: {users}, stays {stays}")
