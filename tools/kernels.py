"""Kernels of unattended runs are spoken to by sockets in a folder of their own.

By default Jupyter chooses five free ports, and the kernel opens them half a second later. Where
other processes open ports too, one of the five is sometimes taken by then, and the kernel ends.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from jupyter_client.connect import ConnectionFileMixin
from jupyter_client.manager import AsyncKernelManager, KernelManager


class InAFolder(ConnectionFileMixin):
    """The sockets' folder, short enough for the path of a socket; it goes with the kernel."""

    def _transport_default(self) -> str:
        return "ipc"

    def _ip_default(self) -> str:
        return str(Path(tempfile.mkdtemp(prefix="kernel-"), "socket"))

    def cleanup_ipc_files(self) -> None:
        """Remove the folder, too."""
        super().cleanup_ipc_files()
        shutil.rmtree(Path(self.ip).parent, ignore_errors=True)


class LocalKernel(InAFolder, KernelManager):
    """For nbval and tests."""


class AsyncLocalKernel(InAFolder, AsyncKernelManager):
    """For nbclient."""
