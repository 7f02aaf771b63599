"""The worker: what it does with a message that cannot be handled, and while something is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shop.broker.memory import MemoryBroker
from shop.errors import Unavailable
from shop.messages import Envelope, Record, sealed
from shop.orders.events import StepAnswered
from shop.worker import TRIES, Worker

TOPIC = StepAnswered.topic


def answered(order_id: str, step: str) -> Record:
    return sealed(StepAnswered(order_id=order_id, step=step), "test")


def work(
    records: list[Record],
    handle: Callable[[Envelope], Awaitable[None]],
    *,
    until: Callable[[MemoryBroker], bool],
    broker: MemoryBroker | None = None,
) -> MemoryBroker:
    """A broker with these records, after a worker has worked until something is so."""
    broker = broker or MemoryBroker()
    broker.topics[TOPIC] += records

    async def main() -> None:
        stop = asyncio.Event()
        worker = Worker("group", TOPIC, broker, handle, at_a_time=4)
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run(stop))
            while not until(broker):
                await asyncio.sleep(0.01)
            stop.set()

    asyncio.run(main())
    return broker


def committed(count: int) -> Callable[[MemoryBroker], bool]:
    return lambda broker: broker.committed["group", TOPIC] == count


def test_the_messages_of_an_order_are_handled_one_after_the_other_and_orders_side_by_side() -> None:
    log: list[str] = []

    async def handle(envelope: Envelope) -> None:
        name = f"{envelope.message.order_id} {envelope.message.step}"  # type: ignore[attr-defined]
        log.append(f"begins {name}")
        await asyncio.sleep(0.05)
        log.append(f"ends {name}")

    work([answered(o, s) for s in "xy" for o in "ab"], handle, until=committed(4))
    assert log[:2] == ["begins a x", "begins b x"]
    for order in "ab":
        of_it = [line for line in log if f" {order} " in line]
        assert of_it == [f"{when} {order} {step}" for step in "xy" for when in ("begins", "ends")]


def test_what_cannot_be_handled_is_put_aside_with_its_reason_and_the_next_goes_on() -> None:
    tries: list[str] = []

    async def handle(envelope: Envelope) -> None:
        tries.append(envelope.message.order_id)
        if envelope.message.order_id == "bad":
            raise LookupError("No order bad.")

    records = [answered("bad", "x"), Record(TOPIC, "stranger", b"\xff", {}), answered("good", "x")]
    broker = work(records, handle, until=committed(3))
    dead = {record.key: record for record in broker.topics[f"{TOPIC}.dead"]}
    assert sorted(tries) == ["bad"] * TRIES + ["good"]
    assert dead.keys() == {"bad", "stranger"}
    assert dead["bad"].headers["reason"] == "LookupError: No order bad."
    assert dead["bad"].value == records[0].value
    assert dead["stranger"].headers["reason"].startswith("Unreadable: ")


def test_while_something_is_away_nothing_is_put_aside_and_nothing_is_committed() -> None:
    tries = 0

    async def handle(_envelope: Envelope) -> None:
        nonlocal tries
        tries += 1
        if tries <= TRIES + 2:
            raise Unavailable("The bank is away.")

    broker = work([answered("a", "x")], handle, until=committed(1))
    assert tries == TRIES + 3
    assert f"{TOPIC}.dead" not in broker.topics


def test_when_it_is_told_to_stop_while_something_is_away_the_next_worker_goes_on() -> None:
    broker, tries = MemoryBroker(), 0
    broker.topics[TOPIC] += [answered("a", "x")]

    async def main() -> None:
        stop = asyncio.Event()

        async def handle(_envelope: Envelope) -> None:
            nonlocal tries
            tries += 1
            if tries == 2:
                stop.set()
            raise Unavailable("The bank is away.")

        await asyncio.wait_for(Worker("group", TOPIC, broker, handle, at_a_time=2).run(stop), 20)

    asyncio.run(main())
    assert (tries, broker.committed["group", TOPIC]) == (2, 0)
    assert f"{TOPIC}.dead" not in broker.topics


def test_while_the_broker_is_away_the_worker_waits() -> None:
    handled: list[str] = []
    broker = MemoryBroker()

    async def handle(envelope: Envelope) -> None:
        handled.append(envelope.message.order_id)
        broker.down = True
        asyncio.get_running_loop().call_later(0.5, setattr, broker, "down", False)

    work([answered("a", "x")], handle, until=committed(1), broker=broker)
    assert handled == ["a"]


def test_when_it_is_told_to_stop_it_finishes_and_commits_what_it_has_polled() -> None:
    handled: list[str] = []
    broker = MemoryBroker()
    broker.topics[TOPIC] += [answered(str(n), "x") for n in range(8)]

    async def main() -> None:
        stop = asyncio.Event()

        async def handle(envelope: Envelope) -> None:
            stop.set()
            await asyncio.sleep(0.05)
            handled.append(envelope.message.order_id)

        await asyncio.wait_for(Worker("group", TOPIC, broker, handle, at_a_time=2).run(stop), 20)

    asyncio.run(main())
    assert len(handled) == 8
    assert broker.committed["group", TOPIC] == 8
