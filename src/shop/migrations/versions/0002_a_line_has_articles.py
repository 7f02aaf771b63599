"""A line is for one article or more. New lines are held to it, and no old one is looked at yet."""

from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    """Add the check: a moment, however many lines there are."""
    op.create_check_constraint(
        "order_lines_quantity_check", "order_lines", "quantity > 0", postgresql_not_valid=True
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_constraint("order_lines_quantity_check", "order_lines")
