"""Rate limits, the shared state of lanes, and alerts. Only adds: the version before goes on with it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("integrations", sa.Column("rate_per_s", sa.Float()))
    op.add_column("integrations", sa.Column("rate_burst", sa.Integer()))
    op.create_table(
        "lane_states",
        sa.Column("integration_id", sa.Text(), nullable=False),
        sa.Column("breaker", sa.Text(), server_default="closed", nullable=False),
        sa.Column("breaker_since_ms", sa.BigInteger()),
        sa.Column("openings", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_probe_at_ms", sa.BigInteger()),
        sa.Column("blocked_until_ms", sa.BigInteger()),
        sa.Column("failing_since_ms", sa.BigInteger()),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_success_at_ms", sa.BigInteger()),
        sa.Column("last_failure_at_ms", sa.BigInteger()),
        sa.Column("last_failure", sa.Text(), server_default="", nullable=False),
        sa.Column("paused_at_ms", sa.BigInteger()),
        sa.Column("paused_reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["integration_id"], ["integrations.id"], name="fk_lane_states_integration_id"),
        sa.PrimaryKeyConstraint("integration_id", name="pk_lane_states"),
    )
    op.create_table(
        "lane_counts",
        sa.Column("integration_id", sa.Text(), nullable=False),
        sa.Column("slot_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["integration_id"], ["integrations.id"], name="fk_lane_counts_integration_id"),
        sa.PrimaryKeyConstraint("integration_id", "slot_ms", name="pk_lane_counts"),
    )
    op.create_table(
        "alert_channels",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("sealed_secrets", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_alert_channels_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_alert_channels"),
    )
    op.create_index("ix_alert_channels_project_id", "alert_channels", ["project_id"])
    op.create_table(
        "alerts",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("over_at_ms", sa.BigInteger()),
        sa.Column("told_at_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_alerts_project_id"),
        sa.PrimaryKeyConstraint("project_id", "kind", "subject", name="pk_alerts"),
    )
    op.create_table(
        "alert_sends",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_alert_sends_project_id"),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["alert_channels.id"],
            name="fk_alert_sends_channel_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_alert_sends"),
    )
    op.create_index("ix_alert_sends_channel_id", "alert_sends", ["channel_id"])
    op.create_index("ix_alert_sends_due_at_ms", "alert_sends", ["due_at_ms"])
