"""What a selection means as conditions on tables, and what it would send: the dry run."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa

from bellwire.db.outbox import State
from bellwire.db.tables import app_user_ids, events, outbox
from bellwire.model.enums import OPT_IN_EVENT_TYPES
from bellwire.model.projects import DAY_MS, Integration
from bellwire.model.replays import Selection, TimeOf, What

SAMPLES = 5
_CHOSEN, _FILTERED, _UNDISPATCHED, _WAITING = "chosen", "filtered", "undispatched", "waiting"

Conditions = list[sa.ColumnElement[bool]]


class TypeCount(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one type."""

    type: str
    count: int
    first_at_ms: int
    last_at_ms: int


class DayCount(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one day, UTC."""

    day: str
    count: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One of the events that would be sent."""

    id: str
    type: str
    app_user_id: str | None
    environment: str | None
    event_timestamp_ms: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay would send if it began now; times are those of the events."""

    total: int
    first_at_ms: int | None
    last_at_ms: int | None
    by_type: list[TypeCount]
    by_day: list[DayCount]
    samples: list[Sample]
    """The first ones."""
    filtered: int
    """Selected, but not what this integration takes by its own filters."""
    undispatched: int
    """Left out because they never went out and were not asked for."""
    waiting: int
    """Waiting or on their way to this integration already, so they are not sent twice."""
    begin: int
    """Numbers, of the event log or of the outbox, between which all of it is."""
    end: int


def preview(connection: sa.Connection, integration: Integration, selection: Selection) -> Preview:
    """The dry run. Walks all that is selected."""
    from_log = selection.what is What.HISTORY
    standing = _standing(integration, selection) if from_log else sa.literal(_CHOSEN)
    key = _key(selection)
    day = (events.c.event_timestamp_ms // sa.literal_column(str(DAY_MS))).label("day")
    grouped = (
        sa.select(
            standing.label("standing"),
            events.c.type,
            day,
            sa.func.count().label("events"),
            sa.func.min(events.c.event_timestamp_ms).label("first"),
            sa.func.max(events.c.event_timestamp_ms).label("last"),
            sa.func.min(key).label("begin"),
            sa.func.max(key).label("end"),
        )
        .select_from(_source(selection))
        .where(*_chosen(integration, selection))
        .group_by("standing", events.c.type, "day")
    )
    counts: Counter[str] = Counter()
    begins, ends = list[int](), list[int]()
    types: dict[str, TypeCount] = {}
    days: Counter[int] = Counter()
    for row in connection.execute(grouped):
        counts[row.standing] += row.events
        if row.standing == _CHOSEN:
            begins.append(row.begin)
            ends.append(row.end)
            days[row.day] += row.events
            types[row.type] = _merged(types.get(row.type), row.type, row.events, row.first, row.last)
    by_type = sorted(types.values(), key=lambda one: (-one.count, one.type))
    return Preview(
        total=counts[_CHOSEN],
        first_at_ms=min((one.first_at_ms for one in by_type), default=None),
        last_at_ms=max((one.last_at_ms for one in by_type), default=None),
        by_type=by_type,
        by_day=[DayCount(day=_day(number), count=count) for number, count in sorted(days.items())],
        samples=_samples(connection, integration, selection) if counts[_CHOSEN] else [],
        filtered=counts[_FILTERED],
        undispatched=counts[_UNDISPATCHED],
        waiting=counts[_WAITING],
        begin=min(begins, default=1),
        end=max(ends, default=0),
    )


def find_portion(
    connection: sa.Connection,
    integration: Integration,
    selection: Selection,
    *,
    after: int,
    last: int,
    rows: int,
    scan: int,
) -> tuple[list[tuple[int, int]], int]:
    """The next `rows` at most of what is selected, and up to where that is all there is.

    Of the event log: (seq, customer); of the outbox: (id, customer). Looks at no more than `scan` rows after `after`.
    """
    key = _key(selection)
    upto = _end_of_scan(connection, integration, selection, after, scan)
    upto = last if upto is None else min(upto, last)
    conditions = _chosen(integration, selection)
    if selection.what is What.HISTORY:
        conditions.append(wanted_by(integration))
        if not selection.include_undispatched:
            conditions.append(events.c.dispatched)
    found = connection.execute(
        sa.select(key, events.c.customer_id)
        .select_from(_source(selection))
        .where(*conditions, key > after, key <= upto)
        .order_by(key)
        .limit(rows)
    ).all()
    pairs = [(number, customer_id) for number, customer_id in found]
    return pairs, (pairs[-1][0] if len(pairs) == rows else upto)


def wanted_by(integration: Integration) -> sa.ColumnElement[bool]:
    """`engine.matching.matches` for events in the log, but for whether they were dispatched."""
    found: Conditions = [events.c.project_id == integration.project_id]
    if integration.environment is not None:
        found.append(events.c.environment == integration.environment.value)
    if integration.app_id is not None:
        found.append(events.c.app_id == integration.app_id)
    if integration.event_types is None:
        found.append(events.c.type.not_in([one.value for one in OPT_IN_EVENT_TYPES]))
    else:
        found.append(events.c.type.in_([one.value for one in integration.event_types]))
    return sa.func.coalesce(sa.and_(*found), sa.false())


def _standing(integration: Integration, selection: Selection) -> sa.ColumnElement[str]:
    on_its_way = sa.exists().where(
        outbox.c.integration_id == integration.id,
        outbox.c.event_seq == events.c.seq,
        outbox.c.state != State.PARKED.value,
    )
    return sa.case(
        (~wanted_by(integration), _FILTERED),
        (sa.false() if selection.include_undispatched else ~events.c.dispatched, _UNDISPATCHED),
        (on_its_way, _WAITING),
        else_=_CHOSEN,
    )


def _key(selection: Selection) -> sa.ColumnElement[int]:
    return events.c.seq if selection.what is What.HISTORY else outbox.c.id


def _source(selection: Selection) -> sa.FromClause:
    return events if selection.what is What.HISTORY else outbox.join(events, events.c.seq == outbox.c.event_seq)


def _chosen(integration: Integration, selection: Selection) -> Conditions:
    """The selection's own conditions."""
    found: Conditions = [events.c.project_id == integration.project_id]
    if selection.what is not What.HISTORY:
        found += [outbox.c.integration_id == integration.id, _stuck(selection.what)]
    if selection.delivery_ids is not None:
        found.append(outbox.c.id.in_(selection.delivery_ids))
    if selection.event_id is not None:
        found.append(events.c.id == selection.event_id)
    if selection.customer is not None:
        found.append(events.c.customer_id.in_(customers_called(integration.project_id, selection.customer)))
    if selection.event_types is not None:
        found.append(events.c.type.in_([one.value for one in selection.event_types]))
    if selection.environment is not None:
        found.append(events.c.environment == selection.environment.value)
    if selection.app_id is not None:
        found.append(events.c.app_id == selection.app_id)
    at = events.c.event_timestamp_ms if selection.time_of is TimeOf.EVENT else events.c.committed_at_ms
    if selection.since_ms is not None:
        found.append(at >= selection.since_ms)
    if selection.until_ms is not None:
        found.append(at < selection.until_ms)
    return found


def customers_called(project_id: str, app_user_id: str) -> sa.ScalarSelect[int]:
    """The customer with this id."""
    query = sa.select(app_user_ids.c.customer_id).where(
        app_user_ids.c.project_id == project_id, app_user_ids.c.app_user_id == app_user_id
    )
    return query.scalar_subquery()


def _stuck(what: What) -> sa.ColumnElement[bool]:
    parked = outbox.c.state == sa.literal_column(str(State.PARKED.value))
    if what is What.PARKED:
        return parked
    failing = sa.and_(outbox.c.state == State.DUE.value, outbox.c.attempt > 0, outbox.c.replay_id.is_(None))
    return sa.or_(parked, failing)


def _end_of_scan(
    connection: sa.Connection, integration: Integration, selection: Selection, after: int, scan: int
) -> int | None:
    """The number of the last row that is looked at; None = all that there are. A narrow index has the rest."""
    if selection.event_id is not None or selection.customer is not None or selection.delivery_ids is not None:
        return None
    if selection.what is What.HISTORY:
        query = sa.select(events.c.seq).where(events.c.project_id == integration.project_id, events.c.seq > after)
        query = query.order_by(events.c.seq)
    else:
        query = sa.select(outbox.c.id).where(outbox.c.integration_id == integration.id, outbox.c.id > after)
        query = query.order_by(outbox.c.id)
    return connection.execute(query.offset(scan - 1).limit(1)).scalar_one_or_none()


def _samples(connection: sa.Connection, integration: Integration, selection: Selection) -> list[Sample]:
    key = _key(selection)
    conditions = _chosen(integration, selection)
    if selection.what is What.HISTORY:
        conditions.append(_standing(integration, selection) == _CHOSEN)
    query = (
        sa.select(*(events.c[name] for name in Sample.__struct_fields__))
        .select_from(_source(selection))
        .where(*conditions)
        .order_by(key)
        .limit(SAMPLES)
    )
    return [msgspec.convert(row, Sample, from_attributes=True) for row in connection.execute(query)]


def _merged(known: TypeCount | None, kind: str, count: int, first: int, last: int) -> TypeCount:
    if known is None:
        return TypeCount(type=kind, count=count, first_at_ms=first, last_at_ms=last)
    return TypeCount(
        type=kind,
        count=known.count + count,
        first_at_ms=min(known.first_at_ms, first),
        last_at_ms=max(known.last_at_ms, last),
    )


def _day(number: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)).date().isoformat()
    except OverflowError:
        return "9999-12-31"
