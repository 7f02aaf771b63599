"""The load generator is open loop, tells outcomes apart, and counts every request once."""

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator

import numpy as np
import psutil
import pytest
from children import started_by

from shoplab.errors import LoadError
from shoplab.measure.accuracy import measure_accuracy
from shoplab.measure.load import MAX_REQUESTS, LoadResult, offer
from shoplab.measure.plan import Retry

pytestmark = pytest.mark.server  # its own, in a thread, and seconds of load on it

Handler = Callable[[str, bytes, asyncio.StreamWriter], Coroutine[None, None, None]]


async def answer(writer: asyncio.StreamWriter, status: int = 200, body: bytes = b"{}") -> None:
    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
    await writer.drain()


@contextlib.contextmanager
def server(handler: Handler) -> Iterator[str]:
    """A keep-alive HTTP server in a thread; yields its URL."""
    loop = asyncio.new_event_loop()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [
                    int(line.split(":")[1])
                    for line in head.splitlines()
                    if line.lower().startswith("content-length")
                ]
                body = await reader.readexactly(length[0]) if length else b""
                await handler(head, body, writer)
        writer.close()

    listening = loop.run_until_complete(asyncio.start_server(connection, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    finally:
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@contextlib.contextmanager
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def url_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}/"


def adds_up(result: LoadResult) -> bool:
    parts = (result.answered, result.rejected, result.refused, result.reset, result.timed_out)
    return sum(parts) == result.offered == len(result.latency) == len(result.outcome)


def test_latency_is_the_delay_of_the_server() -> None:
    async def slow(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await answer(writer)

    with server(slow) as url:
        result = offer(url, rate=50, count=50)
    assert result.answered == result.offered == 50
    assert 0.2 <= result.percentile(50) < 0.4
    assert result.latency.min() >= 0.2
    assert result.duration == pytest.approx(49 / 50 + 0.2, abs=0.2)


def test_a_stall_shows_in_the_latency_of_all_who_were_due_in_it() -> None:
    served = 0

    async def stalls_once(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        if served == 100:
            stall = threading.Event()
            stall.wait(1.0)  # the whole server stands still, as in a long garbage collection
        await answer(writer)

    with server(stalls_once) as url:
        # One connection: those who are due in the stall cannot leave, and wait all the same.
        result = offer(url, rate=100, count=300, connections=1)
    assert result.answered == 300
    assert result.percentile(99) > 0.9
    # A closed loop would have seen one slow answer. Here each of the 100 requests due within the
    # stall waited for what was left of it: half of them half a second or more.
    assert 40 <= np.sum(result.latency > 0.5) <= 70


def test_a_slow_server_does_not_slow_the_load_down() -> None:
    async def slow(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.0)
        await answer(writer)

    with server(slow) as url:
        result = offer(url, rate=100, count=100)
    assert result.achieved_rate == pytest.approx(100, rel=0.1)
    assert result.duration < 4.0


def test_statuses_are_counted_one_by_one() -> None:
    statuses = iter([200] * 6 + [503] * 3 + [429] * 2 + [302])

    async def by_turn(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        await answer(writer, next(statuses))

    with server(by_turn) as url:
        result = offer(url, rate=100, count=12)
    assert result.by_status == {200: 6, 302: 1, 429: 2, 503: 3}
    assert (result.answered, result.rejected) == (6, 6)
    assert adds_up(result)
    assert "6 answered, 1 rejected (302), 2 rejected (429), 3 rejected (503)" in str(result)


def test_a_port_where_nobody_listens_refuses() -> None:
    with listener() as listening:
        url = url_of(listening)
    result = offer(url, rate=100, count=20)
    assert result.refused == result.offered == 20
    assert adds_up(result)
    assert np.isnan(result.percentile(99))
    assert str(result).startswith("20 offered at 100/s: 0 answered, 20 refused")


def test_a_server_that_never_answers_times_out_counted_from_the_due_time() -> None:
    with listener() as listening:
        result = offer(url_of(listening), rate=50, count=20, timeout=0.5)
    assert result.timed_out == result.offered == 20
    assert adds_up(result)
    assert np.all((result.latency >= 0.5) & (result.latency < 1.5))


def test_one_who_waits_for_a_connection_times_out_too() -> None:
    with listener() as listening:
        result = offer(url_of(listening), rate=50, count=20, timeout=0.5, connections=1)
    assert result.timed_out == 20
    assert np.all(result.latency < 1.5)


def test_a_connection_that_breaks_is_a_reset() -> None:
    async def breaks(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        reset = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        writer.transport.abort()

    with server(breaks) as url:
        result = offer(url, rate=100, count=20)
    assert result.reset == result.offered == 20
    assert adds_up(result)


def test_an_answer_cut_off_in_the_middle_is_a_reset() -> None:
    async def half(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        writer.close()

    with server(half) as url:
        result = offer(url, rate=100, count=10)
    assert result.reset == 10


def test_a_get_that_breaks_is_not_sent_again() -> None:
    seen = 0

    async def every_second_breaks(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        if seen % 2 == 0:
            writer.close()
        else:
            await answer(writer)

    with server(every_second_breaks) as url:
        result = offer(url, rate=20, count=10, connections=1)
    assert seen == 10
    assert (result.answered, result.reset) == (5, 5)


def test_bodies_are_made_for_each_index() -> None:
    bodies: list[bytes] = []

    async def keep(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        bodies.append(body)
        assert head.startswith("POST / ")
        assert "content-type: application/json" in head.lower()
        await answer(writer, 201)

    with server(keep) as url:
        offer(url, rate=200, count=5, method="POST", json=lambda index: {"order_id": index})
        offer(url, rate=200, count=4, method="POST", json=["a", "b"])
        offer(url, rate=200, count=2, method="POST", json={"same": True})
    sent = [json.loads(body) for body in bodies]
    assert sorted(body["order_id"] for body in sent[:5]) == [0, 1, 2, 3, 4]
    assert sorted(sent[5:9]) == ["a", "a", "b", "b"]
    assert sent[9:] == [{"same": True}] * 2


def test_headers_are_made_for_each_index_or_are_the_same_for_all() -> None:
    seen: list[str] = []

    async def handler(head: str, _body: bytes, writer: asyncio.StreamWriter) -> None:
        seen.extend(line.split(": ")[1] for line in head.splitlines() if line.startswith("Key"))
        await answer(writer)

    with server(handler) as url:
        offer(url, rate=50, count=3, headers=lambda index: {"Key": f"order-{index}"})
        offer(url, rate=50, count=2, headers={"Key": "always"})
    assert sorted(seen) == ["always", "always", "order-0", "order-1", "order-2"]


def test_a_load_ends_at_its_seconds() -> None:
    async def at_once(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        await answer(writer)

    with server(at_once) as url:
        result = offer(url, rate=100, seconds=0.5)
    assert result.offered == 50
    assert result.due[-1] == pytest.approx(0.49)


def test_poisson_arrivals_have_the_rate_and_the_spread_and_repeat() -> None:
    with listener() as listening:
        url = url_of(listening)
    first = offer(url, rate=2000, count=2000, arrivals="poisson", seed=7)
    gaps = np.diff(first.due)
    assert gaps.mean() == pytest.approx(1 / 2000, rel=0.1)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)
    again = offer(url, rate=2000, count=2000, arrivals="poisson", seed=7)
    assert np.array_equal(first.due, again.due)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/", "http://example.org/", "https://127.0.0.1/", "ftp://localhost/"]
)
def test_another_machine_is_never_a_target(url: str) -> None:
    with pytest.raises(LoadError, match="this machine only"):
        offer(url, rate=1, count=1)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"rate": 10.0}, "one bound"),
        ({"rate": 10.0, "count": 1, "seconds": 1.0}, "one bound"),
        ({"rate": 0.0, "count": 1}, "one bound"),
        ({"rate": 1e6, "count": MAX_REQUESTS + 1}, "too many"),
        ({"rate": 1.0, "seconds": 3600.0}, "too many"),
    ],
)
def test_a_load_without_sane_bounds_is_refused(bounds: dict[str, float], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        offer("http://127.0.0.1:1/", **bounds)  # type: ignore[arg-type]


def test_more_connections_than_files_are_refused_with_the_reason() -> None:
    with pytest.raises(LoadError, match="open files"):
        offer("http://127.0.0.1:1/", rate=1, count=1, connections=2**40)


def test_a_generator_held_up_in_mid_run_counts_from_the_due_time_and_says_so() -> None:
    served, held = 0, 0.0

    async def holds_its_caller_up(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal served, held
        served += 1
        if served == 50:
            (generator,) = started_by(psutil.Process())
            before = time.monotonic()
            generator.suspend()
            threading.Event().wait(0.5)
            generator.resume()
            held = time.monotonic() - before
        await answer(writer)

    with server(holds_its_caller_up) as url:
        result = offer(url, rate=100, count=150)
    due_while_held = 100 * (held - 0.1)  # and by more than 0.1 s too late
    assert 0.75 * due_while_held <= np.sum(result.lateness > 0.1) <= 1.5 * due_while_held + 20
    assert np.all(result.latency >= result.lateness)
    assert not result.kept_schedule
    assert "fell behind its own schedule" in str(result)


def test_a_late_generator_is_told_from_one_in_time() -> None:
    late = np.full(100, 0.5)
    zeros = np.zeros(100)
    result = LoadResult(10, time.time(), zeros, zeros, late, np.full(100, "200"), np.ones(100))
    assert not result.kept_schedule
    assert "fell behind its own schedule: p99 lateness 500 ms, more than 10 ms" in str(result)
    in_time = LoadResult(10, time.time(), zeros, zeros, zeros, np.full(100, "200"), np.ones(100))
    assert in_time.kept_schedule
    assert "schedule" not in str(in_time)


def test_a_percentile_is_a_latency_that_was_measured_and_failures_have_none() -> None:
    latency = np.array([0.4, 0.1, 0.3, 0.2, 9.0])
    outcome = np.array(["200", "201", "200", "200", "timed out"])
    result = LoadResult(10, time.time(), np.zeros(5), latency, latency / 10, outcome, np.ones(5))
    assert [result.percentile(p) for p in (1, 50, 51, 100)] == [0.1, 0.2, 0.3, 0.4]
    assert result.lateness_percentile(100) == 0.9


def test_the_generator_reaches_its_rate_on_a_trivial_target() -> None:
    result = measure_accuracy(rate=500, seconds=1.0)
    assert result.answered == result.offered == 500
    assert result.achieved_rate == pytest.approx(500, rel=0.05)


# -- customers who try again ----------------------------------------------------------------------


def failing(times: int) -> tuple[Handler, list[str]]:
    """Every order is refused so often before it succeeds; and the bodies that came."""
    came: list[str] = []

    async def handler(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        came.append(body.decode())
        await answer(writer, 200 if came.count(body.decode()) > times else 503)

    return handler, came


def offered(handler: Handler, **options: object) -> LoadResult:
    with server(handler) as url:
        return offer(url, rate=200, count=20, method="POST", json=lambda index: index, **options)  # type: ignore[arg-type]


def test_nobody_tries_again_unless_asked_to() -> None:
    handler, came = failing(1)
    result = offered(handler)
    assert result.rejected == len(came) == 20
    assert set(result.tries) == {1} and "tries" not in str(result)


def test_a_customer_tries_until_served_and_the_last_outcome_counts() -> None:
    handler, came = failing(2)
    result = offered(handler, retry=Retry(tries=4, patience=1))
    assert result.answered == 20 and set(result.tries) == {3} and len(came) == 60
    assert "3.0 tries each" in str(result)
    assert all(came.count(str(index)) == 3 for index in range(20))


def test_a_customer_gives_up_after_the_last_try() -> None:
    handler, came = failing(9)
    result = offered(handler, retry=Retry(tries=3, patience=1))
    assert result.rejected == 20 and len(came) == 60


def test_who_loses_patience_asks_again_and_the_latency_counts_from_the_due_time() -> None:
    async def slow_at_first(head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(body)
        if seen.count(body) == 1:
            await asyncio.sleep(2)
        await answer(writer)

    seen: list[bytes] = []
    result = offered(slow_at_first, retry=Retry(tries=2, patience=0.3))
    assert result.answered == 20 and set(result.tries) == {2}
    assert result.latency.min() >= 0.3


def test_backoff_spreads_the_further_tries_over_time() -> None:
    handler, _ = failing(1)
    result = offered(handler, retry=Retry(tries=2, patience=1, backoff=0.4))
    assert result.answered == 20
    assert result.latency.max() - result.latency.min() > 0.3  # up to 0.8 s, at random


def test_nobody_pauses_beyond_the_time_out() -> None:
    handler, came = failing(9)
    result = offered(handler, timeout=0.3, retry=Retry(tries=50, patience=1, backoff=1))
    assert result.rejected == 20 and result.latency.max() < 3
    assert len(came) < 100


def test_a_budget_is_shared_by_all() -> None:
    handler, came = failing(9)
    offered(handler, retry=Retry(tries=4, patience=1, budget=0.25))
    assert len(came) == 20 + 5


@pytest.mark.parametrize(
    "retry",
    [Retry(0, 1), Retry(2, 0), Retry(2, 1, backoff=-1)],
)
def test_nobody_can_try_never_or_without_patience(retry: Retry) -> None:
    with pytest.raises(LoadError, match="Nobody can try like this"):
        offer("http://127.0.0.1:1/", rate=1, count=1, retry=retry)
