"""Serving HTTP until SIGTERM, and a little longer for those who are being served."""

from __future__ import annotations

import asyncio
import signal

import uvicorn
from fastapi import FastAPI

from shop.http import application
from shop.settings import Settings
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


def serve_shop(settings: Settings, host: str, port: int) -> None:
    """Serve the shop."""

    async def main() -> None:
        app = application(wire(settings), settings)
        config = _config(app, host, port, drain=settings.shop_drain)
        await _Server(config).serve()

    asyncio.run(main())


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
