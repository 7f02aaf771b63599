"""A kernel of an unattended run is given no ports, which others may have taken by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.kernels import LocalKernel

pytestmark = pytest.mark.server


def test_a_kernel_is_reached_by_files_and_their_folder_goes_with_it() -> None:
    manager = LocalKernel(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    folder = Path(manager.ip).parent
    assert [path.is_socket() for path in folder.iterdir()] == [True] * 5
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    assert not folder.exists()
