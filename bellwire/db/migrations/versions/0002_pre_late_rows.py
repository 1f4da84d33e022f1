"""Retries and replays share a class of their own in the outbox: `late` instead of `attempt > 0`, and one index for both.

Revision 0002, pre: older code keeps working. It leaves `late` at its default, so that its retries count as fresh ones.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("late", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("UPDATE outbox SET late = TRUE WHERE attempt > 0")
    op.create_index("ix_outbox_class", "outbox", ["integration_id", "state", "late", "due_at_ms"])
    op.drop_index("ix_outbox_retries", "outbox")
    op.drop_index("ix_outbox_due", "outbox")
