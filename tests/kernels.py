"""A notebook's kernel, as a front end uses it: cells, what they publish, interrupts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from children import started_by
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tools.kernels import LocalKernel

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
    def error(self) -> str:
        return "".join(f"{content['ename']}: {content['evalue']}" for content in self.of("error"))

    def written(self, *streams: str) -> str:
        return "".join(each["text"] for each in self.of("stream") if each["name"] in streams)

    @property
    def stdout(self) -> str:
        return self.written("stdout")

    @property
    def stderr(self) -> str:
        return self.written("stderr")

    @property
    def printed(self) -> str:
        return self.written("stdout", "stderr")

    def bars(self) -> dict[str, list[Any]]:
        """The forms of each bar, one after the other."""
        bars: dict[str, list[Any]] = {}
        for content in self.of("display_data", "update_display_data"):
            bars.setdefault(content["transient"]["display_id"], []).append(content["data"])
        return bars


@dataclass
class Kernel:
    """A kernel that runs cells one after the other."""

    manager: KernelManager
    client: BlockingKernelClient

    def run(self, code: str, cell: str | None = None, *, interrupt: bool = False) -> Run:
        """Run a cell; ``interrupt`` it as soon as its bar appears.

        ``cell`` is its name, which JupyterLab and VS Code give and others do not.
        """
        content = {"code": code, "silent": False, "store_history": True}
        metadata = {"cellId": cell} if cell else {}
        request = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(request)
        run = Run()
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                continue
            run.messages.append(message)
            if interrupt and message["msg_type"] == "display_data":
                self.manager.interrupt_kernel()
            if message["content"].get("execution_state") == "idle":
                return run

    def value(self, expression: str) -> str:
        """An expression's value as ``print`` writes it; fails on an error."""
        run = self.run(f"print({expression})")
        assert not run.error, run.error
        return run.stdout.strip()

    def children(self) -> list[psutil.Process]:
        kernel = psutil.Process(self.manager.provisioner.pid)
        return started_by(kernel)


@contextmanager
def kernel() -> Iterator[Kernel]:
    """A kernel whose waits show their bar after a tenth of a second."""
    environment = {name: value for name, value in os.environ.items() if name != "SHOPLAB_PROGRESS"}
    manager = LocalKernel(kernel_name="python3")
    manager.start_kernel(env=environment)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        kernel = Kernel(manager, client)
        kernel.run(SOON)
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
