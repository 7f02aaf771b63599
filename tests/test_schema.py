"""A schema's address, which SQLAlchemy and libpq must read alike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from shoplab.schema import Schema, rendered
from shoplab.servers.postgres import Postgres


@pytest.mark.server
def test_a_socket_in_a_folder_with_a_space_is_found_by_every_client() -> None:
    with tempfile.TemporaryDirectory(prefix="é a home ") as folder:  # short: its sockets are in it
        server = Postgres(Path(folder, "pg"), Path(folder))
        server.start()
        try:
            assert server.sockets.is_relative_to(folder)
            url = Schema("shop", server.settings()["url"]).url
            with create_engine(url).connect() as connection:
                assert connection.execute(text("SELECT current_schema()")).scalar() == "shop"
            with psycopg.connect(url.replace("+psycopg", "")) as plain:
                assert plain.execute("SELECT current_schema()").fetchone() == ("shop",)
        finally:
            server.stop()


def test_only_a_space_changes_its_form() -> None:
    url = make_url("postgresql+psycopg://me@/shop?host=/a%20b%2Bc&options=-c%20x%3D1")
    assert rendered(url) == ("postgresql+psycopg://me@/shop?host=%2Fa%20b%2Bc&options=-c%20x%3D1")
