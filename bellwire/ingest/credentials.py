"""Noting what a store thinks of an app's credentials (spec: stores 1.7)."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from bellwire.db.apps import update_app_status
from bellwire.db.writer import Writer
from bellwire.model.enums import CredentialStatus
from bellwire.model.projects import App


class CredentialNote(msgspec.Struct, frozen=True, kw_only=True):
    """A store's verdict; `message` holds no secret."""

    project_id: str
    app_id: str
    status: CredentialStatus
    message: str
    checked_at_ms: int


async def note_credentials(writer: Writer, app: App, status: CredentialStatus, message: str, now_ms: int) -> None:
    """Keep the verdict, unless it is the one we have."""
    if app.credential_status is status:
        return
    await writer.write(
        _note,
        CredentialNote(project_id=app.project_id, app_id=app.id, status=status, message=message, checked_at_ms=now_ms),
    )


async def note_accepted(writer: Writer, app: App, now_ms: int) -> None:
    """The store answered: credentials that it had refused are good again."""
    if app.credential_status is CredentialStatus.INVALID:
        await note_credentials(writer, app, CredentialStatus.OK, "The store accepts them.", now_ms)


def _note(connection: sa.Connection, notes: Sequence[CredentialNote]) -> list[None]:
    for note in notes:
        update_app_status(
            connection,
            note.project_id,
            note.app_id,
            status=note.status,
            message=note.message,
            checked_at_ms=note.checked_at_ms,
        )
    return [None] * len(notes)
