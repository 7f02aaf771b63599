"""The shop's HTTP face: what a customer waits for, and what a platform probes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

from dishka import AsyncContainer
from dishka.integrations.fastapi import DishkaRoute, FromDishka, setup_dishka
from fastapi import APIRouter, FastAPI, Header, HTTPException, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from shop import logs
from shop.cache import REMEMBERED, Cache
from shop.orders.domain import InvalidOrder, Order, Status
from shop.orders.service import PlaceOrder
from shop.orders.storage import OrderStore
from shop.orders.summaries import Summaries
from shop.settings import Settings
from shop.telemetry import about

PROBES = ("/livez", "/readyz")
NAME = "^[A-Za-z0-9_.@+-]{1,64}$"
Name = Annotated[str, Field(pattern=NAME)]


class Wanted(BaseModel):
    """What a customer asks for: how many of which article, and the card's token."""

    customer_id: Name
    card: Name
    quantities: dict[Name, Annotated[int, Field(ge=1, le=1000)]] = Field(
        min_length=1,
        max_length=50,
        json_schema_extra={"additionalProperties": False},  # no article has another kind of name
    )


class OrderShown(BaseModel):
    """An order as its customer sees it."""

    id: str
    status: Status
    reason: str = ""


class SummaryShown(BaseModel):
    """An order in a list; ``total`` in cents."""

    id: str
    status: Status
    placed_at: datetime
    total: int


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


orders = APIRouter(route_class=DishkaRoute, tags=["orders"])
probes = APIRouter(route_class=DishkaRoute, tags=["probes"])
UNAVAILABLE: dict[int | str, dict[str, object]] = {
    503: {"model": Problem, "description": "Too busy, or the database is away; try again"},
    504: {"model": Problem, "description": "Not done in time; try again with the same key"},
}


@orders.post(
    "/orders",
    status_code=202,
    responses=UNAVAILABLE | {400: {"model": Problem, "description": "There is no such article"}},
)
async def place(
    wanted: Wanted,
    idempotency_key: Annotated[
        str, Header(min_length=8, max_length=100, pattern=r"^[\x21-\x7e]+$")
    ],
    place_order: FromDishka[PlaceOrder],
    cache: FromDishka[Cache],
    response: Response,
) -> OrderShown:
    """Place an order. It is accepted when the answer comes, and carried out afterwards."""
    bind_contextvars(customer_id=wanted.customer_id)
    [before] = await cache.get(f"placed:{idempotency_key}")
    if before is not None:
        shown = OrderShown(**before)
    else:
        order = await place_order(
            customer_id=wanted.customer_id,
            card=wanted.card,
            quantities=wanted.quantities,
            key=idempotency_key,
        )
        shown = _shown(order)
        await cache.put({f"placed:{idempotency_key}": shown.model_dump()}, REMEMBERED)
    logs.say(order_id=shown.id, customer_id=wanted.customer_id, step="place", outcome="done")
    about(shown.id)
    response.headers["Location"] = f"/orders/{shown.id}"
    return shown


@orders.get(
    "/orders/{order_id}",
    responses=UNAVAILABLE | {404: {"model": Problem, "description": "There is no such order"}},
)
async def read(
    order_id: Annotated[str, Path(pattern=r"^[0-9a-f-]{1,64}$")], store: FromDishka[OrderStore]
) -> OrderShown:
    """How far an order has come, from the database: a customer reads what he wrote."""
    logs.say(order_id=order_id)
    order = await store.find(order_id)
    if order is None:
        raise HTTPException(404, "There is no such order.")
    return _shown(order)


@orders.get("/customers/{customer_id}/orders", responses=UNAVAILABLE)
async def summaries(
    customer_id: Annotated[str, Path(pattern=NAME)], kept: FromDishka[Summaries]
) -> list[SummaryShown]:
    """A customer's newest orders, as they were a moment ago."""
    logs.say(customer_id=customer_id)
    return [SummaryShown(**vars(each)) for each in await kept.of(customer_id)]


@probes.get("/livez")
async def live() -> dict[str, str]:
    """Whether this process answers at all; if not, it is to be started again."""
    return {"status": "alive"}


@probes.get("/readyz", responses={503: {"model": Problem}})
async def ready(
    request: Request, database: FromDishka[AsyncEngine], settings: FromDishka[Settings]
) -> dict[str, str]:
    """Whether it wants requests now: not while it ends, nor without its database."""
    if request.app.state.draining:
        raise HTTPException(503, "This process ends.")
    async with asyncio.timeout(settings.shop_deadline), database.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return {"status": "ready"}


def _shown(order: Order) -> OrderShown:
    return OrderShown(id=order.id, status=order.status, reason=order.reason)


class Logged:
    """Leaves a line in the log for each request, by its route: the path may tell who asks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        with logs.line("Request", method=scope["method"]) as said:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    said["status"] = message["status"]
                    said["route"] = getattr(scope.get("route"), "path", "")
                await send(message)

            await self._app(scope, receive, answer)


class WithinLimits:
    """Turns away what there is no room for, and ends what takes too long: soon, and with a word.

    It is wrapped around the application, so that the deadline cancels the endpoint. A function
    under ``@app.middleware`` only answers in time: the endpoint has a task of its own and goes on.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._deadline = app, settings.shop_deadline
        self._room = asyncio.Semaphore(settings.shop_requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
        elif self._room.locked():
            busy = _problem(503, "Too busy. Try again in a moment.", {"Retry-After": "1"})
            await busy(scope, receive, send)
        else:
            async with self._room:
                await self._in_time(scope, receive, send)

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def answer(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        limit = asyncio.timeout(self._deadline)
        try:
            async with limit:
                await self._app(scope, receive, answer)
        except Exception:  # a driver that is cut off may raise whatever it likes
            if answered or not limit.expired():
                raise
            late = _problem(504, "Not done in time. Try again with the same key.")
            await late(scope, receive, send)


def application(container: AsyncContainer, settings: Settings) -> FastAPI:
    """The application. Whatever the container has made is closed at its end."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await container.close()

    app = FastAPI(title="Shop", version="1", lifespan=lifespan)
    app.state.draining = False
    app.include_router(orders)
    app.include_router(probes)
    setup_dishka(container, app)
    app.add_middleware(WithinLimits, settings=settings)
    app.add_middleware(Logged)

    @app.exception_handler(InvalidOrder)
    async def invalid(_request: Request, error: InvalidOrder) -> Response:
        return _problem(400, str(error))

    async def away(_request: Request, error: Exception) -> Response:
        logs.say(error=type(error).__name__)
        return _problem(503, "The database does not answer.", {"Retry-After": "1"})

    for kind in (DBAPIError, PoolTimeout, TimeoutError):
        app.add_exception_handler(kind, away)
    return app


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers)
