"""The bank, over HTTP: with a deadline, a limit, and tries that come to an end."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import httpx2
import stamina

from shop.errors import Unavailable
from shop.payment.service import Decision
from shop.telemetry import calling


class HttpBank:
    """A ``Bank``. At most ``at_a_time`` questions are open at the same time.

    A test gives another ``transport``: a bank in its own process.
    """

    def __init__(
        self,
        url: str,
        deadline: float,
        at_a_time: int,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._client = httpx2.AsyncClient(base_url=url, timeout=deadline / 2, transport=transport)
        self._deadline, self._room = deadline, asyncio.Semaphore(at_a_time)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def authorise(self, key: str, amount: int, card: str) -> Decision:
        """See ``Bank``."""
        said = await self._ask("authorisations", {"key": key, "amount": amount, "card": card})
        return Decision(said.get("declined", ""))

    async def capture(self, key: str) -> None:
        """See ``Bank``."""
        await self._ask("captures", {"key": key})

    async def void(self, key: str) -> None:
        """See ``Bank``."""
        await self._ask("voids", {"key": key})

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._deadline), self._room:
                async for attempt in stamina.retry_context(
                    on=again, attempts=3, wait_initial=0.1, timeout=self._deadline
                ):
                    with attempt, calling("bank", path):
                        answer = await self._client.post(f"/{path}", json=body)
                        answer.raise_for_status()
        except (httpx2.HTTPError, TimeoutError) as error:
            if isinstance(error, httpx2.HTTPStatusError) and error.response.status_code < 500:
                raise
            raise Unavailable(f"The bank: {type(error).__name__} {error}") from error
        said: dict[str, Any] = answer.json()
        return said


def again(error: Exception) -> bool:
    """Whether the bank may answer better if it is asked again with the same key."""
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx2.HTTPError)
