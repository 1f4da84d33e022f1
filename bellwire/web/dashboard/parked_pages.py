"""Parked deliveries: why each was given up, and retrying or discarding some or all of them."""

import asyncio
from functools import partial
from urllib.parse import urlencode

import sqlalchemy as sa
from starlette.responses import RedirectResponse, Response

from bellwire.db.parked import (
    AGED_OUT,
    MAX_AT_ONCE,
    DiscardRefused,
    ParkedFilters,
    count_parked,
    discard_parked,
    lanes_of,
    list_parked,
)
from bellwire.delivery.replay_orders import ReplayRefused, draw_up, place
from bellwire.delivery.service import DeliveryRefused
from bellwire.kit.ids import read_row_id
from bellwire.model.enums import Environment, EventType
from bellwire.model.replays import Selection, What
from bellwire.web.dashboard.caller import Caller
from bellwire.web.dashboard.filters import read_filters
from bellwire.web.dashboard.lines import tone
from bellwire.web.dashboard.render import page

SHOWN = 40
"""Rows of a page; a form has at most fifty fields."""


def list_all(caller: Caller) -> Response:
    """GET /projects/{id}/parked."""
    project = caller.project()
    filters = _filters(caller)
    before = read_row_id(caller.request.query_params.get("before", ""))
    with caller.reading() as connection:
        found = list_parked(connection, project.id, filters, after=before, limit=SHOWN + 1)
        counts = count_parked(connection, project.id)
    names = {one.id: one.name for one in caller.integrations()}
    shown = found[:SHOWN]
    address = f"/projects/{project.id}/parked"
    values = {
        "here": "parked",
        "filters": filters,
        "filtered": any((filters.integration_id, filters.event_type, filters.environment, filters.customer)),
        "lines": [(one, names.get(one.integration_id, one.integration_id), tone(one.event_type)) for one in shown],
        "older": f"{address}{_query(filters, before=shown[-1].id)}" if len(found) > SHOWN else None,
        "newest": before is None,
        "query": _query(filters),
        "total": sum(counts.values()),
        "integrations": caller.integrations(),
        "event_types": [kind.value for kind in EventType],
        "environments": [one.value for one in Environment],
        "aged_out": AGED_OUT,
    }
    return page(caller, "parked.html", values)


async def retry(caller: Caller, form: dict[str, str]) -> Response:
    """POST /projects/{id}/parked/retry: the chosen ones, or with `all` what the filters leave; as replays."""
    project = caller.project()
    filters = _filters(caller)
    selections = await asyncio.to_thread(_selections, caller, form, filters)
    integrations = {one.id: one for one in caller.integrations()}

    def draw_up_all() -> list[partial[str]]:
        with caller.reading() as connection:
            orders = [draw_up(connection, integrations[lane], chosen) for lane, chosen in selections.items()]
        return [
            partial(place, order=order, created_by=caller.session.email, now_ms=caller.now_ms)
            for order in orders
            if order.preview.total
        ]

    placing = await asyncio.to_thread(draw_up_all)
    if not placing:
        raise DeliveryRefused("choose at least one delivery that is still parked")

    def work(connection: sa.Connection) -> int:
        return len([one(connection) for one in placing])

    try:
        await caller.services.writer.change(work)
    except ReplayRefused as error:
        raise DeliveryRefused(str(error)) from error
    return RedirectResponse(f"/projects/{project.id}/replays", status_code=303)


async def discard(caller: Caller, form: dict[str, str]) -> Response:
    """POST /projects/{id}/parked/discard, with a reason."""
    project = caller.project()
    filters = _filters(caller)
    reason, by = form.get("reason", "").replace("\x00", "\ufffd"), caller.session.email
    everything = form.get("all") == "on"

    def work(connection: sa.Connection) -> int:
        ids = _chosen(form)
        if everything:
            ids = [one.id for one in list_parked(connection, project.id, filters, limit=MAX_AT_ONCE)]
        return len(discard_parked(connection, project.id, ids, reason=reason, by=by, now_ms=caller.now_ms))

    total = 0
    try:
        while gone := await caller.services.writer.change(work):
            total += gone
            if not everything:
                break
    except DiscardRefused as error:
        raise DeliveryRefused(str(error)) from error
    if not total:
        raise DeliveryRefused("choose at least one delivery that is still parked")
    return RedirectResponse(f"/projects/{project.id}/parked{_query(filters)}", status_code=303)


def _selections(caller: Caller, form: dict[str, str], filters: ParkedFilters) -> dict[str, Selection]:
    """By integration; those that are gone are left out."""
    present = {one.id for one in caller.integrations()}
    with caller.reading() as connection:
        if form.get("all") != "on":
            lanes = lanes_of(connection, caller.project().id, _chosen(form))
            return {
                lane: Selection(what=What.PARKED, delivery_ids=tuple(some))
                for lane, some in lanes.items()
                if lane in present
            }
        counts = count_parked(connection, caller.project().id)
    selection = Selection(
        what=What.PARKED,
        event_types=None if filters.event_type is None else (EventType(filters.event_type),),
        environment=None if filters.environment is None else Environment(filters.environment),
        customer=filters.customer,
    )
    return {lane: selection for lane in counts if lane in present and filters.integration_id in (None, lane)}


def _chosen(form: dict[str, str]) -> list[int]:
    """Numbers of ticked boxes, `d-4711`."""
    found = [read_row_id(name.removeprefix("d-")) for name in form if name.startswith("d-")]
    return [one for one in found if one is not None]


def _filters(caller: Caller) -> ParkedFilters:
    feed = read_filters(caller.request.query_params)
    return ParkedFilters(
        integration_id=feed.integration_id,
        event_type=feed.event_type,
        environment=feed.environment,
        customer=feed.customer,
    )


def _query(filters: ParkedFilters, *, before: int | None = None) -> str:
    chosen = {
        "integration": filters.integration_id,
        "type": filters.event_type,
        "environment": filters.environment,
        "customer": filters.customer,
        "before": before,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
