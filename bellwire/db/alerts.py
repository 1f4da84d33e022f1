"""Alerts: who is told (channels), what about (matters), and what is still to be told (sends).

A matter's once-a-day mark and its messages are written in one transaction, before anything is sent. A crash can then
repeat the one message that was on its way and lose none; the number of attempts is written before each, so that a
process that dies of sending does not send for ever.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import msgspec
import sqlalchemy as sa

from bellwire.db.dialect import insert
from bellwire.db.notices import dismiss_notice, upsert_notice
from bellwire.db.secrets import Sealer, open_values
from bellwire.db.tables import alert_channels, alert_sends, alerts
from bellwire.destinations.settings import split
from bellwire.kit.ids import new_public_id, new_row_id

DAY_MS = 86_400_000
RETRY_AFTER_MS = tuple(minutes * 60_000 for minutes in (1, 5, 15, 60, 180, 360))
"""Pauses after attempts that failed; a message that failed after the last is given up with a notice."""
UNSENT_NOTICE = "alert_not_sent"


class MatterKind(StrEnum):
    PAUSED = "paused"
    BREAKER_OPEN = "breaker_open"
    LATE = "late"
    FAILURES = "failures"
    STORE_SILENT = "store_silent"


class Matter(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs a person, as found now. `message` completes a sentence that begins with `name`."""

    project_id: str
    kind: MatterKind
    subject: str
    """Id of the integration or app."""
    name: str
    message: str


class AlertState(StrEnum):
    RAISED = "raised"
    OVER = "over"
    TEST = "test"


class AlertMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a matter; `kind` is empty for a test."""

    state: AlertState
    project_id: str
    kind: str
    subject: str
    name: str
    message: str
    at_ms: int


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """Where a project's alerts go. `settings` has opened secrets: never log a Channel; `repr` leaves them out."""

    id: str
    project_id: str
    kind: str
    settings: dict[str, object]
    created_at_ms: int
    unreadable: str = ""
    """Why the secrets could not be opened, in words; empty = they could."""

    def __repr__(self) -> str:
        return f"Channel(id={self.id!r}, kind={self.kind!r})"


class OpenAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A matter that goes on."""

    project_id: str
    kind: MatterKind
    subject: str
    message: str
    since_ms: int
    told_at_ms: int | None


class DueSend(msgspec.Struct, frozen=True, kw_only=True):
    """A message for one channel, whose attempt has been counted. `last`: if it fails it is given up."""

    id: int
    channel: Channel
    message: AlertMessage
    last: bool


def create_channel(
    connection: sa.Connection, sealer: Sealer, *, project_id: str, kind: str, settings: msgspec.Struct, now_ms: int
) -> str:
    """Tell somebody from now on; `settings` is the kind's declared struct, already valid. Returns the channel's id."""
    plain, secret = split(settings)
    channel_id = new_public_id("altc")
    connection.execute(
        sa.insert(alert_channels).values(
            id=channel_id,
            project_id=project_id,
            kind=kind,
            settings=msgspec.json.encode(plain).decode(),
            sealed_secrets=sealer.seal(msgspec.json.encode(secret), binding=_binding(channel_id)),
            created_at_ms=now_ms,
        )
    )
    return channel_id


def list_channels(connection: sa.Connection, sealer: Sealer, project_id: str) -> list[Channel]:
    """Channels of a project, oldest first, secrets opened."""
    query = (
        sa.select(alert_channels)
        .where(alert_channels.c.project_id == project_id)
        .order_by(alert_channels.c.created_at_ms, alert_channels.c.id)
    )
    return [_channel(row, sealer) for row in connection.execute(query)]


def delete_channel(connection: sa.Connection, project_id: str, channel_id: str) -> bool:
    """Tell them no more, not even what waits. False = no such channel."""
    done = connection.execute(
        sa.delete(alert_channels).where(alert_channels.c.project_id == project_id, alert_channels.c.id == channel_id)
    )
    return done.rowcount == 1


def list_open_alerts(connection: sa.Connection, project_id: str | None = None) -> list[OpenAlert]:
    """Matters that go on, of one project or of all, oldest first."""
    query = sa.select(alerts).where(alerts.c.over_at_ms.is_(None)).order_by(alerts.c.since_ms, alerts.c.subject)
    if project_id is not None:
        query = query.where(alerts.c.project_id == project_id)
    return [
        OpenAlert(
            project_id=row.project_id,
            kind=MatterKind(row.kind),
            subject=row.subject,
            message=row.message,
            since_ms=row.since_ms,
            told_at_ms=row.told_at_ms,
        )
        for row in connection.execute(query)
    ]


def settle(connection: sa.Connection, matters: Sequence[Matter], names: Mapping[str, str], *, now_ms: int) -> int:
    """Write down what goes on and what is over, and queue what is to be told; returns how many messages that are.

    `names` of everything there is by id: a matter whose subject is gone ends without a word. Safe to be run by several
    processes at once: what is told is decided by an update that only one of them makes.
    """
    present = {(matter.kind, matter.subject) for matter in matters}
    channels = _channel_ids(connection)
    queued = 0
    for matter in matters:
        _note(connection, matter, now_ms)
        to = channels.get(matter.project_id, [])
        if to and _mark_told(connection, matter, now_ms):
            queued += _queue(connection, to, _raised(matter, now_ms), now_ms)
    for alert in list_open_alerts(connection):
        if (alert.kind, alert.subject) in present or not _mark_over(connection, alert, now_ms):
            continue
        told = alert.told_at_ms is not None and alert.told_at_ms >= alert.since_ms
        if told and alert.subject in names:
            message = _over(alert, names[alert.subject], now_ms)
            queued += _queue(connection, channels.get(alert.project_id, []), message, now_ms)
    return queued


def take_due_sends(connection: sa.Connection, sealer: Sealer, *, now_ms: int, limit: int = 20) -> list[DueSend]:
    """Messages to be sent now, longest waiting first; their attempt counts as made, and the next one is due later."""
    query = (
        sa.select(alert_sends)
        .where(alert_sends.c.due_at_ms <= now_ms)
        .order_by(alert_sends.c.due_at_ms, alert_sends.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken: list[DueSend] = []
    for row in connection.execute(query).all():
        channel = connection.execute(sa.select(alert_channels).where(alert_channels.c.id == row.channel_id)).one()
        send = DueSend(
            id=row.id,
            channel=_channel(channel, sealer),
            message=msgspec.json.decode(row.message, type=AlertMessage),
            last=row.attempt + 1 >= len(RETRY_AFTER_MS),
        )
        if row.attempt >= len(RETRY_AFTER_MS):
            end_send(connection, send, failure="the hub died while sending it", now_ms=now_ms)
            continue
        connection.execute(
            sa.update(alert_sends)
            .where(alert_sends.c.id == row.id)
            .values(attempt=row.attempt + 1, due_at_ms=now_ms + RETRY_AFTER_MS[row.attempt])
        )
        taken.append(send)
    return taken


def next_send_at_ms(connection: sa.Connection) -> int | None:
    """When the next message is due; None = none waits."""
    return connection.execute(sa.select(sa.func.min(alert_sends.c.due_at_ms))).scalar_one_or_none()


def end_send(connection: sa.Connection, send: DueSend, *, failure: str | None, now_ms: int) -> None:
    """A message went (`failure` None), or it did not: then it goes again later, or is given up with a notice."""
    notice = {"kind": UNSENT_NOTICE, "subject": send.channel.id}
    if failure is None:
        dismiss_notice(connection, send.channel.project_id, **notice)
    elif not send.last:
        return
    else:
        text = f"An alert could not be sent by {send.channel.kind} ({send.channel.id}): {failure}"
        upsert_notice(connection, project_id=send.channel.project_id, **notice, message=text, now_ms=now_ms)
    connection.execute(sa.delete(alert_sends).where(alert_sends.c.id == send.id))


def _note(connection: sa.Connection, matter: Matter, now_ms: int) -> None:
    """The matter goes on: it has a row, open since it was first seen."""
    key = {"project_id": matter.project_id, "kind": matter.kind.value, "subject": matter.subject}
    statement = insert(connection, alerts).values(**key, message=matter.message, since_ms=now_ms)
    reopened = sa.case((alerts.c.over_at_ms.is_(None), alerts.c.since_ms), else_=now_ms)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(key), set_={"message": matter.message, "since_ms": reopened, "over_at_ms": None}
        )
    )


def _mark_told(connection: sa.Connection, matter: Matter, now_ms: int) -> bool:
    """Whether it is time to tell, and ours to do; a mark in the future means that the clock was set back."""
    told = alerts.c.told_at_ms
    done = connection.execute(
        sa.update(alerts)
        .where(*_key(matter.project_id, matter.kind, matter.subject))
        .where(sa.or_(told.is_(None), told <= now_ms - DAY_MS, told > now_ms))
        .values(told_at_ms=now_ms)
    )
    return done.rowcount == 1


def _mark_over(connection: sa.Connection, alert: OpenAlert, now_ms: int) -> bool:
    done = connection.execute(
        sa.update(alerts)
        .where(*_key(alert.project_id, alert.kind, alert.subject), alerts.c.over_at_ms.is_(None))
        .values(over_at_ms=now_ms)
    )
    return done.rowcount == 1


def _key(project_id: str, kind: MatterKind, subject: str) -> Collection[sa.ColumnElement[bool]]:
    return [alerts.c.project_id == project_id, alerts.c.kind == kind.value, alerts.c.subject == subject]


def _channel_ids(connection: sa.Connection) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in connection.execute(sa.select(alert_channels.c.project_id, alert_channels.c.id)):
        found.setdefault(row.project_id, []).append(row.id)
    return found


def _queue(connection: sa.Connection, channel_ids: Sequence[str], message: AlertMessage, now_ms: int) -> int:
    for channel_id in channel_ids:
        connection.execute(
            sa.insert(alert_sends).values(
                id=new_row_id(),
                project_id=message.project_id,
                channel_id=channel_id,
                message=msgspec.json.encode(message).decode(),
                created_at_ms=now_ms,
                attempt=0,
                due_at_ms=now_ms,
            )
        )
    return len(channel_ids)


def _raised(matter: Matter, now_ms: int) -> AlertMessage:
    return AlertMessage(
        state=AlertState.RAISED,
        project_id=matter.project_id,
        kind=matter.kind.value,
        subject=matter.subject,
        name=matter.name,
        message=matter.message,
        at_ms=now_ms,
    )


def _over(alert: OpenAlert, name: str, now_ms: int) -> AlertMessage:
    return AlertMessage(
        state=AlertState.OVER,
        project_id=alert.project_id,
        kind=alert.kind.value,
        subject=alert.subject,
        name=name,
        message=alert.message,
        at_ms=now_ms,
    )


def _channel(row: sa.Row[*tuple[object, ...]], sealer: Sealer) -> Channel:
    secret, unreadable = open_values(sealer, row.sealed_secrets, binding=_binding(row.id))
    return Channel(
        id=row.id,
        project_id=row.project_id,
        kind=row.kind,
        settings=msgspec.json.decode(row.settings, type=dict[str, object]) | secret,
        created_at_ms=row.created_at_ms,
        unreadable=unreadable,
    )


def _binding(channel_id: str) -> str:
    return f"alert_channels/sealed_secrets/{channel_id}"
