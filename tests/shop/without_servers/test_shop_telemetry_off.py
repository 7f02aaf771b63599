"""Nobody who wants no telemetry pays for it."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import sys, threading, shop.__main__, shop.serving
from opentelemetry import metrics, trace
from shop import telemetry
with telemetry.exported("api"), telemetry.calling("bank", "captures"):
    telemetry.told(["OrderPlaced"])
print([name for name in sys.modules if name.startswith("opentelemetry.exporter")])
print(type(trace.get_tracer_provider()).__name__, type(metrics.get_meter_provider()).__name__)
print(threading.active_count())
"""


def test_without_a_collector_nothing_is_imported_installed_or_started() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["[]", "ProxyTracerProvider", "_ProxyMeterProvider", "1"]
