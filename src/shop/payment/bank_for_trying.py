"""A bank to try the shop with: `python -m shop bank`. It declines cards that end in 0002."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel


class Authorisation(BaseModel):
    """What is to be set aside, in cents."""

    key: str
    amount: int
    card: str


class Key(BaseModel):
    """Which authorisation is meant."""

    key: str


def bank() -> FastAPI:
    """Its authorisations live as long as it does."""
    app = FastAPI(title="A bank for trying")
    kept: dict[str, dict[str, str | int]] = {}

    @app.post("/authorisations")
    async def authorise(asked: Authorisation) -> dict[str, str]:
        known = kept.setdefault(asked.key, {"state": "authorised", "amount": asked.amount})
        if asked.card.endswith("0002"):
            known["state"] = "declined"
            return {"declined": "The card was declined."}
        return {} if known["state"] != "voided" else {"declined": "It was cancelled before."}

    @app.post("/captures")
    async def capture(asked: Key) -> dict[str, str]:
        if asked.key not in kept or kept[asked.key]["state"] not in ("authorised", "captured"):
            raise HTTPException(409, "Nothing is set aside under this key.")
        kept[asked.key]["state"] = "captured"
        return {}

    @app.post("/voids")
    async def void(asked: Key) -> dict[str, str]:
        known = kept.setdefault(asked.key, {"state": "voided", "amount": 0})
        if known["state"] == "captured":
            raise HTTPException(409, "The money was taken already.")
        if known["state"] == "authorised":
            known["state"] = "voided"
        return {}

    @app.get("/authorisations")
    async def everything() -> dict[str, dict[str, str | int]]:
        return kept

    return app
