"""`/v2/projects/{project_id}/replays`: Bellwire's own, in the style of the rest."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from bellwire.db.replay_selection import DayCount, Preview, Sample, TypeCount
from bellwire.db.replays import Replay, cancel_replay, list_replays, load_replay
from bellwire.delivery.replay_orders import MAX_RATE_PER_S, Order, draw_up, place
from bellwire.kit.endpoints import Problem, Reply
from bellwire.model.enums import Environment, EventType
from bellwire.model.replays import Selection, TimeOf, What
from bellwire.web.rest.door import Visitor
from bellwire.web.rest.errors import ParameterError, missing

_LONGEST_KEY = 255


class NewReplay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /replays and /replays/preview. An unknown field is refused: it may be a filter misspelled."""

    integration_id: str
    what: What
    event_id: str | None = None
    customer_id: str | None = None
    event_types: Annotated[tuple[EventType, ...], msgspec.Meta(min_length=1)] | None = None
    environment: Environment | None = None
    app_id: str | None = None
    since: int | None = None
    until: int | None = None
    time_of: TimeOf = TimeOf.EVENT
    include_undispatched: bool = False
    rate_per_second: Annotated[float, msgspec.Meta(gt=0, le=MAX_RATE_PER_S)] | None = None


class SelectionBody(msgspec.Struct, frozen=True, kw_only=True):
    what: str
    event_id: str | None
    customer_id: str | None
    event_types: Sequence[str] | None
    environment: str | None
    app_id: str | None
    since: int | None
    until: int | None
    time_of: str
    include_undispatched: bool
    delivery_ids: Sequence[str] | None


class ReplayBody(msgspec.Struct, frozen=True, kw_only=True):
    object: str
    id: str
    project_id: str
    integration_id: str
    status: str
    message: str | None
    selection: SelectionBody
    rate_per_second: float | None
    total: int
    enqueued: int
    passed_over: int
    delivered: int
    skipped: int
    failed: int
    retrying: int
    waiting: int
    created_by: str
    created_at: int
    started_at: int | None
    ended_at: int | None


class PreviewBody(msgspec.Struct, frozen=True, kw_only=True):
    object: str
    integration_id: str
    total: int
    first_at: int | None
    last_at: int | None
    by_type: Sequence[TypeCount]
    by_day: Sequence[DayCount]
    samples: Sequence[Sample]
    left_out: "LeftOut"


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    by_filters: int
    undispatched: int
    waiting: int


async def preview_replay(visitor: Visitor) -> Reply:
    """POST /replays/preview: the dry run."""
    order, _ = await _order(visitor)
    return Reply(200, _preview_body(order.integration.id, order.preview))


async def create_replay(visitor: Visitor) -> Reply:
    """POST /replays. With an Idempotency-Key the same request makes one replay, however often it is sent."""
    key = visitor.call.header("idempotency-key")
    if key is not None and len(key) > _LONGEST_KEY:
        raise ParameterError("Idempotency-Key", f"an Idempotency-Key has at most {_LONGEST_KEY} characters")
    order, rate = await _order(visitor)
    replay_id = await visitor.services.writer.change(
        lambda connection: place(
            connection,
            order,
            created_by=visitor.name,
            now_ms=visitor.now_ms,
            rate_per_s=rate,
            idempotency_key=key,
        )
    )
    return Reply(201, replay_body(await load(visitor, replay_id)))


async def list_all(visitor: Visitor) -> Reply:
    """GET /replays, newest first."""
    integration_id, limit = visitor.query("integration_id"), visitor.limit()
    after = visitor.query("starting_after")
    found = await visitor.read(
        lambda connection: list_replays(
            connection,
            visitor.project_id,
            now_ms=visitor.now_ms,
            integration_id=integration_id,
            after=after,
            limit=limit + 1,
        )
    )
    shown = found[:limit]
    more = shown[-1].id if len(found) > limit else None
    bodies = [replay_body(one) for one in shown]
    return Reply(200, visitor.page(bodies, path="/replays", more_after=more, integration_id=integration_id))


async def get_replay(visitor: Visitor) -> Reply:
    """GET /replays/{replay_id}."""
    return Reply(200, replay_body(await load(visitor, visitor.path("replay_id"))))


async def cancel(visitor: Visitor) -> Reply:
    """POST /replays/{replay_id}/actions/cancel. One that was cancelled before stays so; one that is over is refused."""
    replay_id = visitor.path("replay_id")
    done = await visitor.services.writer.change(
        lambda connection: cancel_replay(connection, visitor.project_id, replay_id, now_ms=visitor.now_ms)
    )
    replay = await load(visitor, replay_id)
    if not done and replay.status != "cancelled":
        raise Problem(422, f"Replay {replay_id} is {replay.status} already.")
    return Reply(200, replay_body(replay))


async def load(visitor: Visitor, replay_id: str) -> Replay:
    """Raises Problem 404."""
    found = await visitor.read(
        lambda connection: load_replay(connection, visitor.project_id, replay_id, now_ms=visitor.now_ms)
    )
    if found is None:
        raise missing("replay", replay_id)
    return found


async def _order(visitor: Visitor) -> tuple[Order, float | None]:
    asked = await visitor.json(NewReplay)
    integration = visitor.integration(asked.integration_id)
    selection = Selection(
        what=asked.what,
        event_id=asked.event_id,
        customer=asked.customer_id,
        event_types=asked.event_types,
        environment=asked.environment,
        app_id=asked.app_id,
        since_ms=_time("since", asked.since),
        until_ms=_time("until", asked.until),
        time_of=asked.time_of,
        include_undispatched=asked.include_undispatched,
    )
    return await visitor.read(lambda connection: draw_up(connection, integration, selection)), asked.rate_per_second


def _time(name: str, value: int | None) -> int | None:
    if value is not None and not 0 <= value < 2**53:
        raise ParameterError(name, f"{name} is no time in milliseconds")
    return value


def replay_body(one: Replay) -> ReplayBody:
    """As it is sent."""
    chosen = one.selection
    return ReplayBody(
        object="replay",
        id=one.id,
        project_id=one.project_id,
        integration_id=one.integration_id,
        status=one.status.value,
        message=one.message or None,
        selection=SelectionBody(
            what=chosen.what.value,
            event_id=chosen.event_id,
            customer_id=chosen.customer,
            event_types=chosen.event_types,
            environment=chosen.environment,
            app_id=chosen.app_id,
            since=chosen.since_ms,
            until=chosen.until_ms,
            time_of=chosen.time_of.value,
            include_undispatched=chosen.include_undispatched,
            delivery_ids=None if chosen.delivery_ids is None else [str(each) for each in chosen.delivery_ids],
        ),
        rate_per_second=one.rate_per_s,
        total=one.total,
        enqueued=one.enqueued,
        passed_over=one.passed_over,
        delivered=one.delivered,
        skipped=one.skipped,
        failed=one.failed,
        retrying=one.retrying,
        waiting=one.waiting,
        created_by=one.created_by,
        created_at=one.created_at_ms,
        started_at=one.started_at_ms,
        ended_at=one.ended_at_ms,
    )


def _preview_body(integration_id: str, found: Preview) -> PreviewBody:
    return PreviewBody(
        object="replay_preview",
        integration_id=integration_id,
        total=found.total,
        first_at=found.first_at_ms,
        last_at=found.last_at_ms,
        by_type=found.by_type,
        by_day=found.by_day,
        samples=found.samples,
        left_out=LeftOut(by_filters=found.filtered, undispatched=found.undispatched, waiting=found.waiting),
    )
