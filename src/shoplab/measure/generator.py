"""The process that sends the load: a plan as JSON on stdin, what happened as JSON on stdout.

It lives outside the notebook's kernel, so that neither the kernel's GIL nor its event loop delays a
request. ``shoplab.measure.load`` starts it and reads its answer.

A thread wakes at every due time (``time.sleep`` is exact to some 0.1 ms, the event loop's own
timers only to 1 ms) and hands the request to the event loop, whatever became of the earlier ones.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import random
import resource
import sys
import threading
import time
from dataclasses import asdict

import aiohttp

from shoplab.measure.plan import REFUSED, RESET, SPARED, TIMED_OUT, Plan, Retry, Sent

START_DELAY = 0.05
"""Seconds between the plan's reading and its first due time."""


class GeneratorError(Exception):
    """The generator itself, not the service under load, cannot go on."""


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as the system lets it; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, 10_240):  # macOS calls its hard limit infinite, and accepts 10,240
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            continue
        return wanted
    return soft


class Budget:
    """How often all customers together may try again; see ``Retry``."""

    def __init__(self, retry: Retry) -> None:
        self._share = retry.budget
        self._store = 0.0

    def pay_in(self) -> None:
        """Count a first try."""
        self._store = min(self._store + (self._share or 0.0), SPARED)

    def allows_another(self) -> bool:
        """Whether a further try is left; it is taken."""
        if self._share is None:
            return True
        if self._store < 1:
            return False
        self._store -= 1
        return True


async def send(plan: Plan) -> Sent:
    """Send every request of the plan at its due time and wait for all outcomes."""
    count = len(plan.due)
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=plan.connections)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json"},
    ) as session:
        # aiohttp sends an idempotent request again when a kept-alive connection breaks under it.
        # That would hide a reset, and the service would see more requests than were offered.
        session._retry_connection = False
        start = loop.time() + START_DELAY
        sent = Sent(
            time.time() + START_DELAY, [0.0] * count, [0.0] * count, [""] * count, [0] * count
        )
        budget, pauses = Budget(plan.retry), random.Random(plan.seed)
        tasks: set[asyncio.Task[None]] = set()
        all_released = asyncio.Event()

        async def one(index: int) -> None:
            due = start + plan.due[index]
            sent.lateness[index] = loop.time() - due
            body = plan.bodies[index % len(plan.bodies)] if plan.bodies else None
            headers = plan.headers[index % len(plan.headers)] if plan.headers else None
            last = due + plan.timeout
            budget.pay_in()
            while True:
                sent.tries[index] += 1
                deadline = min(last, max(due, loop.time()) + plan.retry.patience)
                sent.outcomes[index] = await outcome(session, plan, body, headers, deadline)
                if sent.outcomes[index].startswith("2") or sent.tries[index] == plan.retry.tries:
                    break
                pause = pauses.uniform(0, plan.retry.backoff * 2 ** sent.tries[index])
                if loop.time() + pause >= last or not budget.allows_another():
                    break
                await asyncio.sleep(pause)
            sent.latency[index] = loop.time() - due

        def release_one(index: int) -> None:
            tasks.add(loop.create_task(one(index)))

        def release_all() -> None:
            for index, due in enumerate(plan.due):
                time.sleep(max(0.0, start + due - time.monotonic()))
                loop.call_soon_threadsafe(release_one, index)
            loop.call_soon_threadsafe(all_released.set)

        threading.Thread(target=release_all, daemon=True).start()
        await all_released.wait()
        await asyncio.gather(*tasks)
    return sent


async def outcome(
    session: aiohttp.ClientSession,
    plan: Plan,
    body: str | None,
    headers: dict[str, str] | None,
    deadline: float,
) -> str:
    """Send one request, read the whole answer, and name what became of it."""
    try:
        async with (
            asyncio.timeout_at(deadline),
            session.request(
                plan.method, plan.url, data=body, headers=headers, allow_redirects=False
            ) as answer,
        ):
            await answer.read()
            return str(answer.status)
    except TimeoutError:
        return TIMED_OUT
    except aiohttp.ClientConnectorError as error:
        if error.errno == errno.ECONNREFUSED:
            return REFUSED
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise GeneratorError("it may not open more files") from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise GeneratorError("no local port is free for another connection") from error
        return RESET
    except (aiohttp.ClientError, ConnectionError):
        return RESET


def main() -> None:
    """Read a plan, send it, write what happened; a failure of our own goes to stderr, status 1."""
    limit = raise_file_limit()
    told = json.load(sys.stdin)
    plan = Plan(**told | {"retry": Retry(**told["retry"])})
    if plan.connections > limit - 32:
        sys.exit(f"{plan.connections:,} connections need more open files than allowed ({limit:,})")
    gc.disable()  # a collection in mid-run would be a stall of ours; the run is bounded
    sys.setswitchinterval(0.0005)  # seconds; the releasing thread must get its turn in time
    try:
        sent = asyncio.run(send(plan))
    except GeneratorError as error:
        sys.exit(f"{error} (the limit is {limit:,} open files)")
    json.dump(asdict(sent), sys.stdout)


if __name__ == "__main__":
    main()
