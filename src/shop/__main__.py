"""The shop's program: `python -m shop --help`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import click
import structlog
from dishka import AsyncContainer, Scope
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from shop import logs, telemetry
from shop.broker import Broker
from shop.database import UnitOfWork
from shop.inventory.service import Inventory
from shop.inventory.storage import InventoryStore
from shop.messages import KNOWN, Envelope
from shop.orders.service import FollowOrder
from shop.orders.summaries import Summaries
from shop.payment.service import Payments
from shop.relay import Relay, pause
from shop.settings import Settings
from shop.watch import Watch
from shop.wiring import wire
from shop.worker import DEAD, Worker

WORKERS: dict[str, tuple[str, type[FollowOrder | Payments | Inventory | Summaries]]] = {
    "orders": ("orders.answers", FollowOrder),
    "payment": ("payment.commands", Payments),
    "inventory": ("inventory.commands", Inventory),
    "summaries": ("orders.events", Summaries),
}
"""What each worker listens to, and who handles it there."""

log = structlog.get_logger()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def shop(context: click.Context) -> None:
    """An order service. Its settings come from the environment; see settings.py."""
    logs.set_up()
    if context.invoked_subcommand in ("bank", "document"):
        return
    try:
        context.obj = Settings()
    except ValidationError as error:
        for each in error.errors():
            click.echo(f"{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}", err=True)
        raise click.ClickException("The settings are not complete; see settings.py.") from None
    logs.set_up(context.obj.shop_log_key.get_secret_value())


@shop.command()
@click.pass_obj
def prepare(settings: Settings) -> None:
    """Bring the database's tables and the broker's topics up to date, and fill the shelves."""
    from shop import migrating  # Alembic takes a fifth of a second, which no other part needs

    migrating.upgrade(settings)
    topics = sorted({message.topic for message in KNOWN.values()})

    async def fill(container: AsyncContainer, _stop: asyncio.Event) -> None:
        broker = await container.get(Broker)
        await asyncio.to_thread(broker.create_topics, [*topics, *(t + DEAD for t in topics)])
        async with container(scope=Scope.REQUEST) as unit:
            store = await unit.get(InventoryStore)
            for sku, price, free in (("lamp", 4900, 1000), ("desk", 19900, 100), ("rug", 8900, 10)):
                await store.stock_up(sku, price, free)
            await (await unit.get(UnitOfWork)).commit()

    run(settings, fill)


@shop.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.pass_obj
def api(settings: Settings, host: str, port: int) -> None:
    """Serve customers over HTTP."""
    from shop.serving import serve_shop

    serve_shop(settings, host, port)


@shop.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8001, show_default=True)
def bank(host: str, port: int) -> None:
    """A bank to try the shop with."""
    from shop.payment.bank_for_trying import bank as make
    from shop.serving import serve

    serve(make(), host, port)


@shop.command()
def document() -> None:
    """Write contracts/ anew: what the shop says over HTTP, and by messages."""
    from shop import documents

    try:
        for path in documents.write(WORKERS, documents.CONTRACTS):
            click.echo(path)
    except documents.Incompatible as error:
        raise click.ClickException(str(error)) from None


@shop.command()
@click.pass_obj
def relay(settings: Settings) -> None:
    """Send what the outbox holds."""

    async def work(container: AsyncContainer, stop: asyncio.Event) -> None:
        database, broker = await container.get(AsyncEngine), await container.get(Broker)
        await Relay(database, broker).run(stop)

    with telemetry.exported("relay"):
        run(settings, work)


@shop.command()
@click.argument("names", nargs=-1, type=click.Choice(list(WORKERS)))
@click.pass_obj
def watch(settings: Settings, names: tuple[str, ...]) -> None:
    """Export how long the oldest has waited that waits for these workers, or for any."""

    async def work(container: AsyncContainer, stop: asyncio.Event) -> None:
        database, broker = await container.get(AsyncEngine), await container.get(Broker)
        groups = {name: WORKERS[name][0] for name in names or WORKERS}
        watch = Watch(database, broker, groups)
        telemetry.waiting(lambda: watch.oldest)
        await watch.run(stop)

    with telemetry.exported("watch"):
        run(settings, work)


@shop.command()
@click.argument("name", type=click.Choice(list(WORKERS)))
@click.pass_obj
def worker(settings: Settings, name: str) -> None:
    """Handle the messages of one context, or those that the read model follows."""
    with telemetry.exported(name):
        run(settings, lambda container, stop: work_for(name, settings, container, stop))


async def work_for(
    name: str, settings: Settings, container: AsyncContainer, stop: asyncio.Event
) -> None:
    """Handle the messages of a worker until ``stop``, each in a scope of its own."""
    topic, service = WORKERS[name]

    async def handle(envelope: Envelope) -> None:
        async with container(scope=Scope.REQUEST) as unit:
            await (await unit.get(service)).handle(envelope)

    broker = await container.get(Broker)
    async with asyncio.TaskGroup() as tasks:
        worker = Worker(name, topic, broker, handle, settings.shop_at_a_time)
        tasks.create_task(worker.run(stop))
        if service is FollowOrder:
            tasks.create_task(give_up_late_ones(container, settings.shop_order_deadline, stop))


async def give_up_late_ones(
    container: AsyncContainer, deadline: float, stop: asyncio.Event
) -> None:
    """Look now and then for orders that nobody has answered for too long."""
    while not stop.is_set():
        await pause(stop, min(1.0, deadline / 4))
        try:
            async with container(scope=Scope.REQUEST) as unit:
                if given_up := await (await unit.get(FollowOrder)).give_up_late_ones(deadline):
                    log.warning("Gave up late orders", orders=given_up)
        except Exception as error:  # noqa: BLE001 - the next look may succeed
            log.warning("No look for late orders", error=str(error))


def run(
    settings: Settings, work: Callable[[AsyncContainer, asyncio.Event], Awaitable[None]]
) -> None:
    """Do the work until it is done, or until SIGTERM or Ctrl+C asks for its end."""

    async def main() -> None:
        stop, container = asyncio.Event(), wire(settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            await work(container, stop)
        finally:
            await container.close()

    asyncio.run(main())


if __name__ == "__main__":
    shop()
