"""The attempt log gets ids that sort by time, and on PostgreSQL a partition for each day, to be dropped when it is old.

Revision 0004, post: older code cannot append to it. Existing rows get the id of the moment at which they were started.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_EPOCH_MS = 1_704_067_200_000
_BATCH = 20_000
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COLUMNS = (
    "project_id, integration_id, event_seq, event_id, event_type, app_user_id, environment, attempt, trigger, outcome, "
    "reason, status_code, error, started_at_ms, duration_ms, timings, next_attempt_at_ms, parked, request_method, "
    "request_url, request_headers, request_body, response_headers, response_body, response_truncated"
)
_COPY = sa.text(
    f"INSERT INTO attempts (id, {_COLUMNS}) "  # noqa: S608 - no values in it
    f"SELECT (CASE WHEN started_at_ms > {_EPOCH_MS} THEN started_at_ms - {_EPOCH_MS} ELSE 0 END) * 4194304 "
    f"+ id % 4194304, {_COLUMNS} FROM attempts_before WHERE id > :after AND id <= :upto"
)


def upgrade() -> None:
    for name in ("event", "integration", "project"):
        op.drop_index(f"ix_attempts_{name}", "attempts")
    op.rename_table("attempts", "attempts_before")
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE attempts_before DROP CONSTRAINT pk_attempts")
    op.create_table(
        "attempts",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("integration_id", sa.Text(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("app_user_id", sa.Text()),
        sa.Column("environment", sa.Text()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("timings", sa.Text(), nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger()),
        sa.Column("parked", sa.Boolean(), nullable=False),
        sa.Column("request_method", sa.Text()),
        sa.Column("request_url", sa.Text()),
        sa.Column("request_headers", sa.Text()),
        sa.Column("request_body", sa.LargeBinary()),
        sa.Column("response_headers", sa.Text()),
        sa.Column("response_body", sa.LargeBinary()),
        sa.Column("response_truncated", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("ix_attempts_event", "attempts", ["event_seq", "integration_id", "id"])
    op.create_index("ix_attempts_integration", "attempts", ["integration_id", "id"])
    op.create_index("ix_attempts_project", "attempts", ["project_id", "id"])
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE TABLE attempts_default PARTITION OF attempts DEFAULT")
    _copy(op.get_bind())
    op.drop_table("attempts_before")


def _copy(connection: sa.Connection) -> None:
    """Some at a time: a single statement for a long log would run into the time limit of statements."""
    before = sa.table("attempts_before", sa.column("id"))
    after = 0
    while True:
        batch = sa.select(before.c.id).where(before.c.id > after).order_by(before.c.id).limit(_BATCH).subquery()
        upto = connection.execute(sa.select(sa.func.max(batch.c.id))).scalar_one()
        if upto is None:
            return
        connection.execute(_COPY, {"after": after, "upto": upto})
        after = upto
