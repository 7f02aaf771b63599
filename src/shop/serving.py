"""Serving HTTP until SIGTERM, and a little longer for those who are being served."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from shop.http import application
from shop.settings import Settings
from shop.telemetry import exported, wanted
from shop.wiring import wire

NOTICE = 0.5
"""Seconds between saying *not ready* and closing the door, for a load balancer to hear it."""


class _Server(uvicorn.Server):
    """At SIGTERM it first says that it is not ready any more, and then closes the door."""

    def handle_exit(self, sig: int, frame: object) -> None:
        app = self.config.app
        if sig != signal.SIGTERM or not isinstance(app, FastAPI) or app.state.draining:
            super().handle_exit(sig, frame)  # type: ignore[arg-type]
            return
        app.state.draining = True
        asyncio.get_running_loop().call_later(NOTICE, super().handle_exit, sig, None)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Export what is left before the signal, raised again, ends the process."""
        with super().capture_signals(), exported("api"):
            yield


def serve_shop(settings: Settings, host: str, port: int) -> None:
    """Serve the shop."""

    async def main() -> None:
        app = application(wire(settings), settings)
        if wanted():
            record_requests(app)
        config = _config(app, host, port, drain=settings.shop_drain)
        await _Server(config).serve()

    asyncio.run(main())


def record_requests(app: FastAPI) -> None:
    """Have a span, and a time, for each request that the application answers."""
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")  # the stable names, in seconds
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    FastAPIInstrumentor.instrument_app(
        app, excluded_urls="livez,readyz", exclude_spans=["receive", "send"]
    )


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve any application."""
    uvicorn.Server(_config(app, host, port, drain=1)).run()


def _config(app: FastAPI, host: str, port: int, *, drain: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=int(drain),
    )
