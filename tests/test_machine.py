"""A measurement says what it was made on, and counts the cores that it could use."""

import os
import platform
import re
import sys

import pytest

from shoplab.machine import machine


def test_it_names_cores_system_and_python() -> None:
    cores, memory, system, python = machine().split(", ")
    assert int(cores.split()[0]) >= 1
    assert re.fullmatch(r"\d+ GB", memory)
    assert system == f"{platform.system()} {platform.machine()}"
    assert python == f"Python {'.'.join(map(str, sys.version_info[:3]))}"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_it_counts_the_cores_that_it_may_use() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine().startswith("1 core, ")
    finally:
        os.sched_setaffinity(0, before)
