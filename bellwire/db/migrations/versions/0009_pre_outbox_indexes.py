"""Indexes of the outbox that serve claiming whatever the database believes about the size of the queue.

Revision 0009, pre: older code works with them. The order of a lane comes whole from the index, so that nothing is sorted; earlier
rows of a customer are found by the customer alone. Giving the pages of an empty queue back is allowed again: PostgreSQL
steps aside for writers, and a file without pages is the one case in which it does not take "empty" for what will be.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("ix_outbox_class", "ix_outbox_customer"):
        op.drop_index(name, "outbox")
    op.create_index("ix_outbox_class", "outbox", ["integration_id", "state", "late", "due_at_ms", "id"])
    op.create_index("ix_outbox_customer", "outbox", ["customer_id", "id"])
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE outbox RESET (vacuum_truncate)")
