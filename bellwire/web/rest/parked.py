"""`/v2/projects/{project_id}/parked_deliveries`: what was given up, to be retried or discarded."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import msgspec
import sqlalchemy as sa

from bellwire.db.parked import (
    MAX_AT_ONCE,
    ParkedDelivery,
    ParkedFilters,
    discard_parked,
    lanes_of,
    list_parked,
    load_parked,
)
from bellwire.db.replays import load_replay
from bellwire.delivery.replay_orders import Order, draw_up, place
from bellwire.kit.endpoints import Problem, Reply
from bellwire.kit.ids import read_row_id
from bellwire.model.replays import Selection, What
from bellwire.web.rest.door import Visitor
from bellwire.web.rest.errors import ParameterError, missing
from bellwire.web.rest.replays import ReplayBody, replay_body

Ids = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MAX_AT_ONCE)]


class RetryMany(msgspec.Struct, frozen=True, kw_only=True):
    ids: Ids


class Discard(msgspec.Struct, frozen=True, kw_only=True):
    reason: str


class DiscardMany(msgspec.Struct, frozen=True, kw_only=True):
    ids: Ids
    reason: str


class ParkedBody(msgspec.Struct, frozen=True, kw_only=True):
    object: str
    id: str
    integration_id: str
    event_id: str
    event_type: str
    customer_id: str | None
    environment: str | None
    event_timestamp: int
    queued_at: int
    attempts: int | None
    last_attempt_at: int | None
    outcome: str | None
    reason: str | None
    status_code: int | None
    error: str | None


class Discarded(msgspec.Struct, frozen=True, kw_only=True):
    object: str
    id: str
    deleted_at: int


async def list_all(visitor: Visitor) -> Reply:
    """GET /parked_deliveries, newest first."""
    names = ("integration_id", "event_type", "environment", "customer_id")
    chosen = {name: visitor.query(name) for name in names}
    filters = ParkedFilters(
        integration_id=chosen["integration_id"],
        event_type=chosen["event_type"],
        environment=chosen["environment"],
        customer=chosen["customer_id"],
    )
    limit = visitor.limit()
    text = visitor.query("starting_after")
    after = None if text is None else read_row_id(text)
    if text is not None and after is None:
        raise ParameterError("starting_after", "starting_after is no id of a parked delivery")
    found = await visitor.read(
        lambda connection: list_parked(connection, visitor.project_id, filters, after=after, limit=limit + 1)
    )
    shown = found[:limit]
    more = str(shown[-1].id) if len(found) > limit else None
    bodies = [_body(one) for one in shown]
    return Reply(200, visitor.page(bodies, path="/parked_deliveries", more_after=more, **chosen))


async def get_one(visitor: Visitor) -> Reply:
    """GET /parked_deliveries/{delivery_id}."""
    text = visitor.path("delivery_id")
    delivery_id = read_row_id(text)
    found = None
    if delivery_id is not None:
        found = await visitor.read(lambda connection: load_parked(connection, visitor.project_id, delivery_id))
    if found is None:
        raise missing("parked delivery", text)
    return Reply(200, _body(found))


async def retry_one(visitor: Visitor) -> Reply:
    """POST /parked_deliveries/{delivery_id}/actions/retry: the replay that does it."""
    (replay,) = await _retry(visitor, [visitor.path("delivery_id")])
    return Reply(200, replay)


async def retry_many(visitor: Visitor) -> Reply:
    """POST /parked_deliveries/actions/retry: a replay for each integration."""
    replays = await _retry(visitor, (await visitor.json(RetryMany)).ids)
    return Reply(200, visitor.page(replays, path="/parked_deliveries/actions/retry", more_after=None))


async def discard_one(visitor: Visitor) -> Reply:
    """POST /parked_deliveries/{delivery_id}/actions/discard."""
    reason = (await visitor.json(Discard)).reason
    (gone,) = await _discard(visitor, [visitor.path("delivery_id")], reason)
    return Reply(200, gone)


async def discard_many(visitor: Visitor) -> Reply:
    """POST /parked_deliveries/actions/discard: all of them or, when one is not there, none."""
    asked = await visitor.json(DiscardMany)
    gone = await _discard(visitor, asked.ids, asked.reason)
    return Reply(200, visitor.page(gone, path="/parked_deliveries/actions/discard", more_after=None))


async def _retry(visitor: Visitor, ids: Sequence[str]) -> list[ReplayBody]:
    lanes = await visitor.read(partial(_lanes, project_id=visitor.project_id, ids=ids))
    integrations = {lane: visitor.integration(lane) for lane in lanes}

    def orders(connection: sa.Connection) -> list[Order]:
        return [
            draw_up(connection, integrations[lane], Selection(what=What.PARKED, delivery_ids=tuple(some)))
            for lane, some in lanes.items()
        ]

    drawn_up = await visitor.read(orders)

    def place_all(connection: sa.Connection) -> list[str]:
        return [place(connection, order, created_by=visitor.name, now_ms=visitor.now_ms) for order in drawn_up]

    made = await visitor.services.writer.change(place_all)

    def load_all(connection: sa.Connection) -> list[ReplayBody]:
        found = [load_replay(connection, visitor.project_id, one, now_ms=visitor.now_ms) for one in made]
        return [replay_body(one) for one in found if one is not None]

    return await visitor.read(load_all)


async def _discard(visitor: Visitor, ids: Sequence[str], reason: str) -> list[Discarded]:
    now_ms = visitor.now_ms

    def work(connection: sa.Connection) -> list[int]:
        wanted = [one for some in _lanes(connection, visitor.project_id, ids).values() for one in some]
        return discard_parked(connection, visitor.project_id, wanted, reason=reason, by=visitor.name, now_ms=now_ms)

    gone = await visitor.services.writer.change(work)
    return [Discarded(object="parked_delivery", id=str(one), deleted_at=now_ms) for one in gone]


def _lanes(connection: sa.Connection, project_id: str, ids: Sequence[str]) -> dict[str, list[int]]:
    """The deliveries by integration. Raises Problem 404 for the first that is not there."""
    numbers = {text: read_row_id(text) for text in ids}
    lanes = lanes_of(connection, project_id, [number for number in numbers.values() if number is not None])
    known = {one for some in lanes.values() for one in some}
    for text, number in numbers.items():
        if number not in known:
            raise _unknown(text)
    return lanes


def _unknown(text: str) -> Problem:
    return missing("parked delivery", text)


def _body(one: ParkedDelivery) -> ParkedBody:
    return ParkedBody(
        object="parked_delivery",
        id=str(one.id),
        integration_id=one.integration_id,
        event_id=one.event_id,
        event_type=one.event_type,
        customer_id=one.app_user_id,
        environment=one.environment,
        event_timestamp=one.event_timestamp_ms,
        queued_at=one.queued_at_ms,
        attempts=one.attempts,
        last_attempt_at=one.last_attempt_at_ms,
        outcome=one.outcome,
        reason=one.reason,
        status_code=one.status_code,
        error=one.error,
    )
