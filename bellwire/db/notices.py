"""Notices: things an operator should look at (an unknown product, ...), counted instead of repeated."""

import msgspec
import sqlalchemy as sa

from bellwire.db.dialect import insert
from bellwire.db.tables import notices


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One matter, however often it came up. `message` is that of the latest time."""

    project_id: str
    kind: str
    subject: str
    message: str
    first_seen_ms: int
    last_seen_ms: int
    count: int


def upsert_notice(
    connection: sa.Connection, *, project_id: str, kind: str, subject: str, message: str, now_ms: int
) -> None:
    """Count a matter once more, or for the first time. `message` holds no secret."""
    statement = insert(connection, notices).values(
        project_id=project_id,
        kind=kind,
        subject=subject,
        message=message,
        first_seen_ms=now_ms,
        last_seen_ms=now_ms,
        count=1,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["project_id", "kind", "subject"],
            set_={"message": message, "last_seen_ms": now_ms, "count": notices.c.count + 1},
        )
    )


def list_notices(connection: sa.Connection, project_id: str, *, limit: int = 100) -> list[Notice]:
    """Notices of a project, latest first."""
    rows = connection.execute(
        sa.select(notices)
        .where(notices.c.project_id == project_id)
        .order_by(notices.c.last_seen_ms.desc(), notices.c.kind, notices.c.subject)
        .limit(limit)
    )
    return [msgspec.convert(row, Notice, from_attributes=True) for row in rows]


def dismiss_notice(connection: sa.Connection, project_id: str, *, kind: str, subject: str) -> bool:
    """Forget a matter until it comes up again; False when it was not there."""
    done = connection.execute(
        sa.delete(notices).where(
            notices.c.project_id == project_id, notices.c.kind == kind, notices.c.subject == subject
        )
    )
    return done.rowcount == 1
