"""The shop as it runs: a process for each of its parts, on servers that are there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import requests
from pydantic import SecretStr

from shop.settings import Settings
from shoplab.ports import free_ports
from shoplab.waiting import until

PARTS = {
    "api": ["api"],
    "relay": ["relay"],
    "orders": ["worker", "orders"],
    "payment": ["worker", "payment"],
    "inventory": ["worker", "inventory"],
}


def variables(settings: Settings) -> dict[str, str]:
    """The settings as the environment has them."""
    plain = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if value is not None
    }
    return {name.upper(): value for name, value in plain.items()}


class Program:
    """A bank and all parts of the shop; ends them all."""

    def __init__(self, settings: Settings) -> None:
        self.bank_port, self.port = free_ports(2)
        bank = f"http://127.0.0.1:{self.bank_port}"
        self.settings = settings.model_copy(update={"bank_url": bank})
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = TemporaryDirectory()

    def __enter__(self) -> Self:
        bank = self.settings.bank_url
        subprocess.run(self._command("prepare"), env=self._environment, check=True, timeout=60)
        self._start("bank", ["bank", "--port", str(self.bank_port)])
        for part in PARTS:
            self.start(part)
        shop = f"http://127.0.0.1:{self.port}"
        for part, path in ("api", f"{shop}/readyz"), ("bank", f"{bank}/authorisations"):
            until(lambda part=part, path=path: self._answers(part, path), timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)
        self._logs.cleanup()

    def start(self, part: str) -> None:
        """Start one of the parts, again."""
        port = ["--port", str(self.port)] if part == "api" else []
        self._start(part, [*PARTS[part], *port])

    def end(self, part: str, number: signal.Signals) -> int:
        """End one of them by a signal; its exit status."""
        self.processes[part].send_signal(number)
        return self.processes[part].wait(30)

    def log(self, part: str) -> str:
        """What a part has said."""
        return self._log(part).read_text()

    def place(self, key: str, *, card: str = "tok_1111", **quantities: int) -> requests.Response:
        """Ask for articles."""
        wanted = {"customer_id": "mary", "card": card, "quantities": quantities}
        return requests.post(
            f"http://127.0.0.1:{self.port}/orders",
            json=wanted,
            headers={"Idempotency-Key": key},
            timeout=10,
        )

    def order(self, order_id: str) -> dict[str, Any]:
        """An order, as its customer sees it."""
        answer = requests.get(f"http://127.0.0.1:{self.port}/orders/{order_id}", timeout=10)
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

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | variables(self.settings)

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "shop", *arguments]

    def _start(self, name: str, arguments: list[str]) -> None:
        with self._log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._command(*arguments), env=self._environment, stdout=log, stderr=log
            )

    def _log(self, name: str) -> Path:
        return Path(self._logs.name, f"{name}.log")

    def _answers(self, part: str, address: str) -> bool:
        assert self.processes[part].poll() is None, self.log(part)
        try:
            return requests.get(address, timeout=2).ok
        except requests.ConnectionError:
            return False
