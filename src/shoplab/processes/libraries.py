"""Which modules the fork server loads."""

from __future__ import annotations

OURS = (
    "cloudpickle",
    "shoplab.measure.spans",
    "fastapi",
    "pydantic.v1",  # FastAPI loads it at its first route
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "opentelemetry.instrumentation.fastapi",
    "opentelemetry.instrumentation.requests",
    "requests",
    "kafka",
)
"""At its start: what nearly every child needs."""

LIBRARIES = (
    "dbos",
    "pika",
    "psycopg",
    "pydantic",
    "redis",
    "sqlalchemy",
    "sqlalchemy.dialects.postgresql.psycopg",
)
"""Where the parent has loaded them too, before a child is forked.

None starts a thread, which no fork would survive, as ``numpy`` does.
"""
