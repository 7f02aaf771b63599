"""The shop of chapter 8 as it runs, a process for each of its parts: `make shop` to try it."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import requests
from pydantic import SecretStr

from shop.settings import Settings
from shoplab.errors import LabError, last_lines
from shoplab.ports import free_ports
from shoplab.schema import Schema
from shoplab.stack import Stack
from shoplab.waiting import until

PARTS = {
    "api": ["api"],
    "relay": ["relay"],
    "orders": ["worker", "orders"],
    "payment": ["worker", "payment"],
    "inventory": ["worker", "inventory"],
}
"""The shop's processes, and how each is started."""

START = 60.0
"""Seconds for all of them to be ready."""


class Shop:
    """A bank and all parts of the shop, on servers that are there; ends them all.

    ``with Shop(settings) as shop:`` starts them and waits until they are ready. Raises ``LabError``
    if one of them ends at its start.
    """

    def __init__(self, settings: Settings) -> None:
        self.port, self.bank_port = free_ports(2)
        self.url, bank = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.bank_port}"
        self.settings = settings.model_copy(update={"bank_url": bank})
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = TemporaryDirectory(prefix="shop-")

    def __enter__(self) -> Self:
        try:
            self._start("prepare", ["prepare"])
            if self.processes["prepare"].wait(START) != 0:
                raise self._ended("prepare")
            del self.processes["prepare"]
            self._start("bank", ["bank", "--port", str(self.bank_port)])
            for part in PARTS:
                self.start(part)
            until(lambda: self._answers("api", f"{self.url}/readyz"), START)
            until(lambda: self._answers("bank", f"{self.settings.bank_url}/authorisations"), START)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self._logs.cleanup()

    def start(self, part: str) -> None:
        """Start a part, for the first time or again."""
        port = ["--port", str(self.port)] if part == "api" else []
        self._start(part, [*PARTS[part], *port])

    def end(self, part: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End a part by a signal; its exit status."""
        self.processes[part].send_signal(number)
        return self.processes[part].wait(30)

    def restart_the_dead(self, after: float = 5.0) -> None:
        """Wait until a part is dead, and start it again after so many seconds."""
        until(lambda: any(self._dead()), math.inf, every=0.2)
        time.sleep(after)
        for part in list(self._dead()):
            self.start(part)
            print(f"{part} again: kill -9 {self.processes[part].pid}", flush=True)

    def _dead(self) -> Iterator[str]:
        return (part for part in PARTS if self.processes[part].poll() is not None)

    def log(self, part: str) -> Path:
        """Where a part writes."""
        return Path(self._logs.name, f"{part}.log")

    def _start(self, name: str, arguments: list[str]) -> None:
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "shop", *arguments],
                env=os.environ | variables(self.settings),
                stdout=log,
                stderr=log,
            )

    def _answers(self, part: str, address: str) -> bool:
        if self.processes[part].poll() is not None:
            raise self._ended(part)
        try:
            return requests.get(address, timeout=2).ok
        except requests.ConnectionError:
            return False

    def _ended(self, part: str) -> LabError:
        # its lines are read here: the log goes with the shop
        lines = "\n".join(f"  | {line}" for line in last_lines(self.log(part)))
        what = f"The shop's {part} ended at its start. Its log ends so:\n{lines}"
        return LabError(what, next_step="put right what the last lines say, and try again")


def variables(settings: Settings) -> dict[str, str]:
    """The settings as the environment has them."""
    plain = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if value is not None
    }
    return {name.upper(): value for name, value in plain.items()}


TRY = """
The shop is open. In another terminal:

  curl -i {url}/orders -H 'Content-Type: application/json' -H 'Idempotency-Key: my-first-order' \\
       -d '{{"customer_id": "mary", "card": "tok_1111", "quantities": {{"lamp": 2}}}}'
  curl {url}/customers/mary/orders       its way from placed to shipped takes a moment
  curl {bank}/authorisations      what the bank knows

A card that ends in 0002 is declined, and there are ten rugs. {url}/docs says what else
can be asked. Kill what you like, and order meanwhile; here it is started again after five seconds:

{parts}

Ctrl+C closes the shop.
"""


def main() -> None:
    """Open the shop on the course's own servers until Ctrl+C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = Stack()
    schema = Schema(f"shop_{os.getpid()}", stack.database_url)
    settings = Settings(
        database_url=SecretStr(schema.url),
        redis_url=SecretStr(stack.redis_url),
        kafka_bootstrap_servers=stack.kafka["bootstrap_servers"],
        shop_prefix=f"shop-{os.getpid()}.",
    )
    try:
        with Shop(settings) as shop:
            parts = "\n".join(f"  kill -9 {shop.processes[part].pid:<8}{part}" for part in PARTS)
            print(TRY.format(url=shop.url, bank=shop.settings.bank_url, parts=parts), flush=True)
            while True:
                shop.restart_the_dead()
    except KeyboardInterrupt:
        print("The shop is closed.")
    finally:
        schema.drop()
        stack.close()


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(str(error))
