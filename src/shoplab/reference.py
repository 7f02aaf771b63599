"""The reference application of chapter 8 as it runs: a process for each part, and a bank."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import requests
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from pydantic import SecretStr

from shop.settings import Settings
from shoplab.errors import LabError, last_lines
from shoplab.ports import free_ports
from shoplab.processes.carry import pack
from shoplab.processes.order import Order
from shoplab.processes.program import run_program
from shoplab.processes.spawn import Child, launch
from shoplab.waiting import until

if TYPE_CHECKING:
    from shoplab.lab import Lab

PARTS = {
    "api": ["api"],
    "relay": ["relay"],
    "orders": ["worker", "orders"],
    "payment": ["worker", "payment"],
    "inventory": ["worker", "inventory"],
}
"""The shop's processes, and how each is started."""

MORE = {
    "summaries": ["worker", "summaries"],
    "watch": ["watch", "orders", "payment", "inventory"],
}
"""Those that no order waits for; they run where they are asked for."""

LIBRARIES = (
    "alembic.command",
    "click",
    "dishka.integrations.fastapi",
    "fastapi.responses",
    "httpx2",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.instrumentation.fastapi",
    "opentelemetry.sdk.metrics.export",
    "opentelemetry.sdk.trace.export",
    "pydantic_settings",
    "redis.asyncio",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "stamina",
    "structlog.contextvars",
)
"""What the shop's processes need, and a fork server loads for all of them.

Nothing of the shop itself is among it, whose modules each process reads as they are by then.
"""

START = 60.0
"""Seconds for all of them to be ready."""


def settings_on(lab: Lab, **changes: Any) -> Settings:
    """The shop's settings for a lab's servers, under names that are this run's own."""
    where = {
        "database_url": lab.database_url,
        "redis_url": lab.redis_url,
        "kafka_bootstrap_servers": lab.kafka["bootstrap_servers"],
        "shop_prefix": f"{lab.name('shop')}.",
        "shop_partitions": 2,
        "shop_at_a_time": 4,  # each part has a pool of eight: the server has others to serve
        "bank_url": "http://127.0.0.1:9",  # nobody's, until a bank is there
    }
    return Settings(**(where | changes))


class ReferenceShop:
    """A bank and the parts of the shop, on servers that are there; ends them all.

    ``with ReferenceShop(settings) as shop:`` brings tables and topics up to date, starts the parts
    and waits until they are ready; its end drops the topics. ``environment`` is what the parts find
    in theirs beside the settings. Raises ``LabError`` if a part ends at its start.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Sequence[str] = tuple(PARTS),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port, self.bank_port = free_ports(2)
        self.url, bank = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.bank_port}"
        self.settings = settings.model_copy(update={"bank_url": bank})
        self.processes: dict[str, Child] = {}
        self._parts, self._environment = parts, dict(environment or {})
        self._logs = TemporaryDirectory(prefix="shop-")
        self._prepared = False

    def __enter__(self) -> Self:
        """Start, and wait until the shop is open."""
        try:
            self._start("prepare", ["prepare"])
            if _wait(self.processes["prepare"], START) != 0:
                raise self._ended("prepare")
            self._prepared = True
            del self.processes["prepare"]
            self._start("bank", ["bank", "--port", str(self.bank_port)])
            for part in self._parts:
                self.start(part)
            if "api" in self._parts:
                until(lambda: self._answers("api", f"{self.url}/readyz"), START)
            until(lambda: self._answers("bank", f"{self.settings.bank_url}/authorisations"), START)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the parts that are left, by SIGKILL, and drop the topics."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            _wait(process)
        self._logs.cleanup()
        if self._prepared and self.settings.shop_prefix:
            with suppress(KafkaError):  # a broker that is gone has no topics of ours
                self._drop_topics()

    def module(self, name: str, arguments: list[str]) -> list[str]:
        """The module that a part runs, and its arguments; a profiler may come in between."""
        return ["shop", *arguments]

    def start(self, part: str) -> None:
        """Start a part, for the first time or again."""
        port = ["--port", str(self.port)] if part == "api" else []
        self._start(part, [*(PARTS | MORE)[part], *port])

    def end(self, part: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End a part by a signal; its exit status."""
        self.processes[part].send_signal(number)
        return _wait(self.processes[part], 30)

    def halt(self, part: str) -> None:
        """Let a part, or the bank, stand still: it is alive, and does nothing."""
        self.processes[part].send_signal(signal.SIGSTOP)

    def resume(self, part: str) -> None:
        """Let it go on."""
        self.processes[part].send_signal(signal.SIGCONT)

    def dead(self) -> list[str]:
        """The parts that run no more."""
        return [part for part in self._parts if self.processes[part].poll() is not None]

    def log(self, part: str) -> Path:
        """Where a part writes."""
        return Path(self._logs.name, f"{part}.log")

    # What customers do

    def place(
        self, key: str, *, customer: str = "mary", card: str = "tok_1111", **quantities: int
    ) -> requests.Response:
        """Ask for articles: ``shop.place("first-order", lamp=2)``."""
        return requests.post(
            f"{self.url}/orders",
            json={"customer_id": customer, "card": card, "quantities": quantities},
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

    def _start(self, name: str, arguments: list[str]) -> None:
        module, *rest = self.module(name, arguments)
        path = self._environment.get("PYTHONPATH", "").split(os.pathsep)
        order = Order(name=name, path=[*filter(None, path), *sys.path], source=None, spans=None)
        given = variables(self.settings) | self._environment
        call = pack(run_program, (module, rest), {})
        self.processes[name] = launch(
            order, call, self.log(name), variables=given, libraries=LIBRARIES
        )

    def _answers(self, part: str, address: str) -> bool:
        if self.processes[part].poll() is not None:
            raise self._ended(part)
        try:
            return requests.get(address, timeout=2).ok
        except requests.RequestException:
            return False

    def _ended(self, part: str) -> LabError:
        # its lines are read here: the log goes with the shop
        lines = "\n".join(f"  | {line}" for line in last_lines(self.log(part)))
        what = f"The shop's {part} ended at its start. Its log ends so:\n{lines}"
        return LabError(what, next_step="put right what the last lines say, and try again")

    def _drop_topics(self) -> None:
        admin = KafkaAdminClient(**self.settings.kafka())
        try:
            ours = [t for t in admin.list_topics() if t.startswith(self.settings.shop_prefix)]
            admin.delete_topics(ours, raise_errors=False)
        finally:
            admin.close()


def _wait(process: Child, seconds: float | None = None) -> int:
    status = process.wait(seconds)
    if process.stdin:  # not before: a process that is tied to it would end
        process.stdin.close()
    return status


def variables(settings: Settings) -> dict[str, str]:
    """The settings as the environment has them."""
    plain = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if value is not None
    }
    return {name.upper(): value for name, value in plain.items()}
