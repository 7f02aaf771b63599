"""What Redis is good for: prices that are read often, and answers given before.

(``orders/summaries.py`` has a third use, a read model.) None of it is the truth, and the shop goes
on without any of it: whatever Redis does not say within a moment, the database says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import structlog
from redis import DriverInfo
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shop.settings import Settings
from shop.telemetry import calling

PATIENCE = 0.2
"""Seconds for Redis to answer."""

FRESH = 30
"""Seconds for which a price is good."""

REMEMBERED = 24 * 3600
"""Seconds for which an answer is given again to the same idempotency key."""

log = structlog.get_logger()


def client(settings: Settings) -> Redis:
    """A client that does not wait for long."""
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=True,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        # else each new connection reads the client's version from a file, and blocks the event loop
        driver_info=DriverInfo(),
    )


class Cache:
    """Redis, where a failure is the same as knowing nothing."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis, self._prefix = redis, prefix

    async def get(self, *keys: str) -> list[Any]:
        """What is kept under each key, or None."""
        found = await self._try("MGET", self._redis.mget([self._prefix + key for key in keys]))
        return [None if each is None else json.loads(each) for each in found or [None] * len(keys)]

    async def put(self, values: Mapping[str, Any], seconds: int) -> bool:
        """Keep these for so long; whether they are kept."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key, value in values.items():
                pipeline.set(self._prefix + key, json.dumps(value), ex=seconds)
            return await self._try("SET", pipeline.execute()) is not None

    async def mine(self, key: str, seconds: float) -> bool:
        """Whether nobody else has claimed this key in the last so many seconds; now we have.

        Without Redis everybody has.
        """
        claim = self._redis.set(self._prefix + key, 1, nx=True, px=int(1000 * seconds))
        return await self._try("SET NX", claim, otherwise=True) is not None

    async def _try(self, what: str, call: Awaitable[Any], otherwise: Any = None) -> Any:
        try:
            with calling("redis", what):
                return await call
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("Redis does not answer", error=str(error))
            return otherwise


class CachedPrices:
    """Prices from Redis, and from ``ask`` where Redis has none.

    Of the many that miss the same price at the same moment one asks, and the others wait a moment
    for what it finds: an article that everybody wants must not send everybody to the database.
    """

    def __init__(
        self, cache: Cache, ask: Callable[[Iterable[str]], Awaitable[Mapping[str, int]]]
    ) -> None:
        self._cache, self._ask = cache, ask

    async def of(self, skus: Iterable[str]) -> dict[str, int]:
        """See ``orders.service.Prices``."""
        wanted = sorted(set(skus))
        found = await self._known(wanted)
        missing = [sku for sku in wanted if sku not in found]
        if missing and not await self._cache.mine("asks:" + ",".join(missing), 1.0):
            for _ in range(10):
                await asyncio.sleep(0.02)
                found |= await self._known(missing)
                if not (missing := [sku for sku in wanted if sku not in found]):
                    break
        if missing:
            asked = dict(await self._ask(missing))
            await self._cache.put({f"price:{sku}": price for sku, price in asked.items()}, FRESH)
            found |= asked
        return found

    async def _known(self, skus: list[str]) -> dict[str, int]:
        prices = await self._cache.get(*[f"price:{sku}" for sku in skus])
        return {s: price for s, price in zip(skus, prices, strict=True) if price is not None}
