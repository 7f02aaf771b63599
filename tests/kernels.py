"""A kernel as a notebook has it: cells one after the other, what they publish, interrupts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

SOON = "import time\nfrom shoplab import waiting\nwaiting.PATIENCE, waiting.PACE = 0.1, 0.05\n"
"""Whoever waits for a tenth of a second sees a bar."""


@dataclass
class Run:
    """What a cell has published."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Any]:
        return [message["content"] for message in self.messages if message["msg_type"] in kinds]

    @property
    def errors(self) -> list[str]:
        return [content["ename"] for content in self.of("error")]

    @property
    def printed(self) -> str:
        return "".join(content["text"] for content in self.of("stream"))

    def bars(self) -> dict[str, list[Any]]:
        """The forms of each bar, one after the other."""
        bars: dict[str, list[Any]] = {}
        for content in self.of("display_data", "update_display_data"):
            bars.setdefault(content["transient"]["display_id"], []).append(content["data"])
        return bars


@dataclass
class Kernel:
    """A kernel in which progress is shown, soon."""

    manager: KernelManager
    client: BlockingKernelClient

    def run(self, code: str, *, interrupt: bool = False) -> Run:
        """Run a cell; ``interrupt`` it as soon as its bar appears."""
        run = Run()

        def note(message: dict[str, Any]) -> None:
            run.messages.append(message)
            if interrupt and message["msg_type"] == "display_data":
                self.manager.interrupt_kernel()

        self.client.execute_interactive(code, output_hook=note, timeout=60)
        return run

    def children(self) -> list[psutil.Process]:
        kernel = psutil.Process(self.manager.provisioner.pid)
        return kernel.children(recursive=True)


@contextmanager
def kernel() -> Iterator[Kernel]:
    """A kernel whose waits show their bar after a tenth of a second."""
    environment = {name: value for name, value in os.environ.items() if name != "SHOPLAB_PROGRESS"}
    manager, client = start_new_kernel(kernel_name="python3", env=environment)
    try:
        kernel = Kernel(manager, client)
        kernel.run(SOON)
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
