"""Replays, and the deliveries they put into the outbox. Only adds: the version before goes on with it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("replay_id", sa.Text()))
    _partial_index("ix_outbox_replay", "outbox", ["replay_id", "state"], "replay_id IS NOT NULL")
    _partial_index("ix_outbox_parked", "outbox", ["integration_id", "id"], "state = 2")
    op.create_table(
        "replays",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("integration_id", sa.Text(), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("rate_per_s", sa.Float()),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("enqueued", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("passed_over", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("delivered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("paced_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger()),
        sa.Column("ended_at_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_replays_project_id"),
        sa.ForeignKeyConstraint(["integration_id"], ["integrations.id"], name="fk_replays_integration_id"),
        sa.PrimaryKeyConstraint("id", name="pk_replays"),
        sa.UniqueConstraint("project_id", "idempotency_key", name="uq_replays_project_id_idempotency_key"),
    )
    op.create_index("ix_replays_project", "replays", ["project_id", "created_at_ms"])
    _partial_index("ix_replays_open", "replays", ["id"], "ended_at_ms IS NULL")


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
