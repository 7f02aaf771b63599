"""The shop keeps to its OpenAPI document, whatever is asked of it, one request after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from dishka import Provider, Scope, provide
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.python.asgi import shutdown_lifespans

from shop.http import application
from shop.orders.service import Prices
from shop.settings import Settings
from shop.wiring import wire

pytestmark = pytest.mark.server


GENERATION = {"deterministic": True, "max-examples": 20}


class OneForAll:
    """``Prices`` that know any article, so that what the document allows is an order."""

    async def of(self, skus: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(skus, 4900)


class AllThereIs(Provider):
    @provide(scope=Scope.APP)
    def prices(self) -> Prices:
        return OneForAll()


@contextmanager
def app(settings: Settings) -> Iterator[FastAPI]:
    try:
        yield application(wire(settings, AllThereIs()), settings)
    finally:
        shutdown_lifespans()


def asked(app: FastAPI, **config: Any) -> tuple[list[str], set[tuple[str, int]]]:
    """What does not keep to the document, and how each operation has answered."""
    config = {"seed": 1, "cache": {"enabled": False}, "generation": GENERATION} | config
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", app, config=SchemathesisConfig.from_dict(config)
    )
    wrong: list[str] = []
    answers: set[tuple[str, int]] = set()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            wrong.append(str(event))
        if isinstance(event, events.ScenarioFinished):
            seen = event.recorder
            for key, interaction in seen.interactions.items():
                case, response = seen.cases[key].value, interaction.response
                if response is not None:
                    answers.add((case.operation.label, response.status_code))
            for checks in seen.checks.values():
                for check in checks:
                    if failed := check.failure_info:
                        wrong.append(f"{check.name}: {failed.failure}\n{failed.code_sample}")
    return wrong, answers


def test_every_answer_is_as_the_document_says(settings: Settings) -> None:
    with app(settings) as shop:
        wrong, answers = asked(shop)
    assert not wrong, "\n\n".join(wrong)
    assert answers >= {
        ("POST /orders", 202),
        ("POST /orders", 422),
        ("GET /orders/{order_id}", 200),
        ("GET /customers/{customer_id}/orders", 200),
        ("GET /livez", 200),
        ("GET /readyz", 200),
    }


def test_one_that_says_something_else_is_found(settings: Settings) -> None:
    with app(settings) as shop:
        says = shop.openapi()["components"]["schemas"]["OrderShown"]
        says["properties"]["status"] = {"const": "shipped"}
        wrong, _ = asked(
            shop, phases={"fuzzing": {"enabled": False}, "stateful": {"enabled": False}}
        )
    assert [each for each in wrong if each.startswith("response_schema_conformance")]
