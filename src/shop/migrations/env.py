"""How Alembic reaches the database: by the shop's settings."""

from alembic import context
from sqlalchemy import create_engine

from shop.database import address, metadata

# What waits for a lock makes all others wait behind it; better to give up and try again.
LIMITS = {"lock_timeout": "3s", "statement_timeout": "60s"}

if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        target_metadata=metadata,
        transaction_per_migration=True,
    )
    for name, value in LIMITS.items():
        context.execute(f"SET {name} = '{value}'")
    with context.begin_transaction():
        context.run_migrations()
else:
    settings = context.config.attributes["settings"]
    database = create_engine(address(settings, **LIMITS))
    with database.connect() as connection:
        context.configure(
            connection=connection, target_metadata=metadata, transaction_per_migration=True
        )
        with context.begin_transaction():
            context.run_migrations()
    database.dispose()
