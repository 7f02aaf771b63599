"""The lab's tracing is its own, whatever tracing the user's environment is set up for.

Each test runs a program as a kernel would run it, with the user's variables, and gets what the lab
recorded of a call through two services and of an event.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shoplab.environment import for_processes

pytestmark = pytest.mark.server

PROGRAM = """
from shoplab import Lab
from shoplab.measure.spans import sending

lab = Lab("00-0", service="customer")

import json
import requests
from fastapi import FastAPI

def bank_service():
    app = FastAPI()
    app.get("/")(lambda: "paid")
    return app

def shop_service(bank_url):
    app = FastAPI()
    app.get("/")(lambda: requests.get(bank_url, timeout=5).json())
    return app

bank = lab.serve(bank_service, name="bank")
shop = lab.serve(shop_service, bank.url, name="shop")
assert requests.get(shop.url, timeout=5).json() == "paid"
with sending("orders") as headers:
    pass
spans = lab.until(lambda: len(found := lab.spans()) >= 5 and found)
print(json.dumps({
    "spans": [f"{span.service} {span.kind}" for span in spans],
    "traces": len({span.trace_id for span in spans}),
    "parents": [span.parent_id for span in spans[1:4]] == [span.span_id for span in spans[:3]],
    "attributes": all(span.attributes for span in spans[:4]),
    "headers": [key for key, _ in headers],
}))
lab.close()
"""

WHOLE = {
    "spans": [
        "customer CLIENT",
        "shop SERVER",
        "shop CLIENT",
        "bank SERVER",
        "customer PRODUCER",
    ],
    "traces": 2,
    "parents": True,
    "attributes": True,
    "headers": ["traceparent"],
}

UNFIT = {
    "OTEL_SDK_DISABLED": "true",
    "OTEL_PROPAGATORS": "b3",
    "OTEL_TRACES_SAMPLER": "always_off",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": "0",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "none of your business",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "requests,fastapi",
    "OTEL_PYTHON_EXCLUDED_URLS": ".*",
    "OTEL_PYTHON_TRACER_PROVIDER": "gone",
    "OTEL_PYTHON_CONTEXT": "contextvars_context",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "gone",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
}


def run(*command: str, **variables: str) -> dict[str, object]:
    done = subprocess.run(
        [*command],
        env=for_processes(os.environ) | variables,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert "Attempting to instrument" not in done.stderr
    recorded: dict[str, object] = json.loads(done.stdout)
    return recorded


def test_variables_of_a_tracer_elsewhere_do_not_count() -> None:
    assert run(sys.executable, "-c", PROGRAM, **UNFIT) == WHOLE


def test_nor_do_they_where_opentelemetry_was_imported_before_the_lab() -> None:
    modules = ("propagate", "sdk.trace", "instrumentation.requests")
    imports = "".join(f"import opentelemetry.{module}\n" for module in modules)
    # b3 would fail at this import already; none leaves a process without any propagator
    variables = {"OTEL_PROPAGATORS": "none", "OTEL_PYTHON_REQUESTS_EXCLUDED_URLS": ".*"}
    assert run(sys.executable, "-c", imports + PROGRAM, **UNFIT | variables) == WHOLE


SITECUSTOMIZE = """
import os
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

class Collector(SpanExporter):
    def export(self, spans):
        with open(os.environ["COLLECTED"], "a") as file:
            file.writelines(f"{span.name}\\n" for span in spans)

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Collector()))
trace.set_tracer_provider(provider)
RequestsInstrumentor().instrument()
FastAPIInstrumentor().instrument()
"""


def test_a_tracer_that_is_installed_in_every_process_stays_and_learns_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    collected = tmp_path / "collected"
    own = (
        "from opentelemetry import trace\n"
        "with trace.get_tracer('own').start_as_current_span('own'):\n    pass\n"
    )
    recorded = run(
        sys.executable, "-c", PROGRAM + own, PYTHONPATH=str(tmp_path), COLLECTED=str(collected)
    )
    assert recorded == WHOLE
    assert collected.read_text() == "own\n"


def test_a_kernel_under_opentelemetry_instrument_records_what_any_other_does(
    tmp_path: Path,
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    instrument = Path(sys.executable).with_name("opentelemetry-instrument")
    assert run(str(instrument), sys.executable, str(program)) == WHOLE
