"""The shop as customers use it: what they ask, and what they are told in the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import requests

from shoplab.waiting import until
from tools.shop import Shop


class Program(Shop):
    """All parts of the shop, and its customers."""

    def place(self, key: str, *, card: str = "tok_1111", **quantities: int) -> requests.Response:
        """Ask for articles."""
        wanted = {"customer_id": "mary", "card": card, "quantities": quantities}
        return requests.post(
            f"{self.url}/orders",
            json=wanted,
            headers={"Idempotency-Key": key},
            timeout=10,
        )

    def order(self, order_id: str) -> dict[str, Any]:
        """An order, as its customer sees it."""
        answer = requests.get(f"{self.url}/orders/{order_id}", timeout=10)
        answer.raise_for_status()
        shown: dict[str, Any] = answer.json()
        return shown

    def ended(self, order_ids: Sequence[str], seconds: float = 60) -> list[str]:
        """What has become of these orders, when none of them goes on."""

        def now() -> Iterator[str]:
            return (self.order(order_id)["status"] for order_id in order_ids)

        until(lambda: set(now()) <= {"shipped", "cancelled"}, timeout=seconds)
        return list(now())

    def books(self) -> dict[str, dict[str, Any]]:
        """What the bank knows, by the order."""
        answer = requests.get(self.settings.bank_url + "/authorisations", timeout=10)
        kept: dict[str, dict[str, Any]] = answer.json()
        return kept
