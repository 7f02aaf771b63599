"""Who gets what: the one place that knows every class, and how long each lives.

Per process (``APP``): settings, pools, clients. Per request and per handled message (``REQUEST``):
a session, and all that works with it. What was opened is closed at the end of its scope.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from dishka import AsyncContainer, Provider, Scope, from_context, make_async_container, provide
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from shop import broker, cache, database
from shop.broker import Broker
from shop.cache import Cache, CachedPrices
from shop.inventory.service import Inventory
from shop.inventory.storage import InventoryStore
from shop.orders.service import FollowOrder, PlaceOrder, Prices
from shop.orders.storage import OrderStore
from shop.orders.summaries import Summaries
from shop.payment.bank import HttpBank
from shop.payment.service import Bank, Payments
from shop.payment.storage import PaymentStore
from shop.settings import Settings


class Servers(Provider):
    """What is outside of this process. A test puts doubles in its place."""

    scope = Scope.APP
    settings = from_context(Settings)

    @provide
    async def engine(self, settings: Settings) -> AsyncIterator[AsyncEngine]:
        """The database's pool: a connection for each order or request that is handled."""
        pool = database.engine(settings, settings.shop_at_a_time + 4)
        yield pool
        await pool.dispose()

    @provide
    async def redis(self, settings: Settings) -> AsyncIterator[Redis]:
        """Redis's pool."""
        client = cache.client(settings)
        yield client
        await client.aclose()

    @provide
    def broker(self, settings: Settings) -> Broker:
        """Kafka, by the client that the settings name."""
        return broker.broker(settings)

    @provide
    async def bank(self, settings: Settings) -> AsyncIterator[Bank]:
        """The bank."""
        address = settings.bank_url
        async with HttpBank(address, settings.shop_bank_deadline, settings.shop_at_a_time) as bank:
            yield bank


class Shop(Provider):
    """The shop itself, the same with any servers."""

    scope = Scope.REQUEST

    @provide
    async def session(self, engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        """One session, and so one transaction, for each request or handled message."""
        async with AsyncSession(engine, expire_on_commit=False) as session:
            yield session

    unit_of_work = provide(database.UnitOfWork)
    order_store = provide(OrderStore)
    payment_store = provide(PaymentStore)
    inventory_store = provide(InventoryStore)
    place_order = provide(PlaceOrder)
    follow_order = provide(FollowOrder)
    summaries = provide(Summaries)
    payments = provide(Payments)
    inventory = provide(Inventory)

    @provide(scope=Scope.APP)
    def cache(self, redis: Redis, settings: Settings) -> Cache:
        """What Redis keeps for us, under our prefix."""
        return Cache(redis, settings.shop_prefix)

    @provide
    def prices(self, cache: Cache, store: InventoryStore) -> Prices:
        """Prices, cached."""
        return CachedPrices(cache, store.prices)


def wire(settings: Settings, *instead: Provider) -> AsyncContainer:
    """The whole shop; what ``instead`` provides takes the place of the servers."""
    return make_async_container(Servers(), Shop(), *instead, context={Settings: settings})
