"""Migrations, from within the program: no file of settings beside the environment."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from shop.settings import Settings


def config(settings: Settings) -> Config:
    """Alembic's settings."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.set_main_option("path_separator", "os")
    made.attributes["settings"] = settings
    return made


def upgrade(settings: Settings, revision: str = "head") -> None:
    """Bring the tables up to a revision."""
    command.upgrade(config(settings), revision)


def downgrade(settings: Settings, revision: str) -> None:
    """Take them back to a revision."""
    command.downgrade(config(settings), revision)
