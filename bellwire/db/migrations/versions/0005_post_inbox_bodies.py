"""The bytes of inbox entries get a table of their own, so that they can age out and the inbox stays narrow.

Revision 0005, post: older code cannot keep what comes in any more.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BATCH = 20_000
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COPY = sa.text(
    "INSERT INTO inbox_bodies (inbox_id, body, headers) "
    "SELECT id, body, headers FROM inbox WHERE id > :after AND id <= :upto"
)


def upgrade() -> None:
    op.create_table(
        "inbox_bodies",
        sa.Column("inbox_id", _ID, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("inbox_id", name="pk_inbox_bodies"),
        postgresql_partition_by="RANGE (inbox_id)",
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE TABLE inbox_bodies_default PARTITION OF inbox_bodies DEFAULT")
    _copy(op.get_bind())
    op.drop_column("inbox", "body")
    op.drop_column("inbox", "headers")


def _copy(connection: sa.Connection) -> None:
    """Some at a time: a single statement for a long archive would run into the time limit of statements."""
    inbox = sa.table("inbox", sa.column("id"))
    after = -1
    while True:
        batch = sa.select(inbox.c.id).where(inbox.c.id > after).order_by(inbox.c.id).limit(_BATCH).subquery()
        upto = connection.execute(sa.select(sa.func.max(batch.c.id))).scalar_one()
        if upto is None:
            return
        connection.execute(_COPY, {"after": after, "upto": upto})
        after = upto
