"""Replays: the list with how far each is, and asking for a new one, which shows first what would go."""

import asyncio

import sqlalchemy as sa
from starlette.responses import RedirectResponse, Response

from bellwire.db.replays import Replay, cancel_replay, list_replays, load_replay
from bellwire.delivery.replay_orders import Order, ReplayRefused, draw_up, in_words, place
from bellwire.delivery.service import DeliveryRefused
from bellwire.model.enums import Environment, EventType
from bellwire.model.projects import Integration
from bellwire.web.dashboard.caller import Caller, NotFound
from bellwire.web.dashboard.render import page
from bellwire.web.dashboard.replay_form import NAMES, BadChoice, ReplayForm, read_replay_form

SHOWN = 50
_ON_ITS_WAY = "waiting", "running"


def list_all(caller: Caller) -> Response:
    """GET /projects/{id}/replays."""
    return page(caller, "replays.html", {"here": "replays", **_list_values(caller)})


def list_rows(caller: Caller) -> Response:
    """GET /projects/{id}/replays/rows: the table alone, as the page asks for it while something moves."""
    return page(caller, "replay_rows.html", _list_values(caller))


def _list_values(caller: Caller) -> dict[str, object]:
    project = caller.project()
    with caller.reading() as connection:
        found = list_replays(connection, project.id, now_ms=caller.now_ms, limit=SHOWN)
    names = {one.id: one.name for one in caller.integrations()}
    lines = [(one, names.get(one.integration_id, one.integration_id), in_words(one.selection)) for one in found]
    return {
        "lines": [(*line, _share(line[0]), _hint(caller, line[0])) for line in lines],
        "moving": any(one.ended_at_ms is None for one in found),
        "can_start": bool(caller.integrations()),
    }


def show_new(caller: Caller) -> Response:
    """GET /projects/{id}/replays/new: the form; once it names an integration, also what would go."""
    caller.project()
    form = read_replay_form(caller.request.query_params)
    order, complaint = None, ""
    if form.integration_id and caller.request.query_params.get("show"):
        try:
            order = _order(caller, form)
        except BadChoice as error:
            complaint = str(error)
    return page(caller, "replay_new.html", _form_values(caller, form, order, complaint))


def _form_values(caller: Caller, form: ReplayForm, order: Order | None, complaint: str) -> dict[str, object]:
    return {
        "here": "replays",
        "fields": dict.fromkeys(NAMES, "") | form.fields,
        "complaint": complaint,
        "order": order,
        "integrations": caller.integrations(),
        "apps": caller.apps(),
        "event_types": [kind.value for kind in EventType],
        "environments": [one.value for one in Environment],
    }


async def start(caller: Caller, form: dict[str, str]) -> Response:
    """POST /projects/{id}/replays."""
    project = caller.project()
    chosen = read_replay_form(form)
    try:
        order = await asyncio.to_thread(_order, caller, chosen)
        rate = chosen.rate_per_s()
    except BadChoice as error:
        return page(caller, "replay_new.html", _form_values(caller, chosen, None, str(error)), 400)

    def work(connection: sa.Connection) -> str:
        return place(connection, order, created_by=caller.session.email, now_ms=caller.now_ms, rate_per_s=rate)

    try:
        await caller.services.writer.change(work)
    except ReplayRefused as error:
        raise DeliveryRefused(str(error)) from error
    return RedirectResponse(f"/projects/{project.id}/replays", status_code=303)


async def cancel(caller: Caller, form: dict[str, str]) -> Response:
    """POST /projects/{id}/replays/{replay_id}/cancel."""
    project = caller.project()
    replay_id = caller.path("replay_id")
    done = await caller.services.writer.change(
        lambda connection: cancel_replay(connection, project.id, replay_id, now_ms=caller.now_ms)
    )
    if not done:
        await asyncio.to_thread(_must_be_known, caller, replay_id)
        raise DeliveryRefused("this replay is over already")
    if "hx-request" in caller.request.headers:
        return await asyncio.to_thread(list_rows, caller)
    return RedirectResponse(f"/projects/{project.id}/replays", status_code=303)


def _must_be_known(caller: Caller, replay_id: str) -> None:
    with caller.reading() as connection:
        if load_replay(connection, caller.project().id, replay_id, now_ms=caller.now_ms) is None:
            raise NotFound("This project has no such replay.")


def _order(caller: Caller, form: ReplayForm) -> Order:
    integration = integration_of(caller, form.integration_id)
    form.rate_per_s()
    selection = form.selection()
    with caller.reading() as connection:
        return draw_up(connection, integration, selection)


def integration_of(caller: Caller, integration_id: str) -> Integration:
    """One of the project's. Raises NotFound."""
    found = [one for one in caller.integrations() if one.id == integration_id]
    if not found:
        raise NotFound("This project has no such integration.")
    return found[0]


def _share(one: Replay) -> int:
    """Per cent of it that is settled."""
    settled = one.delivered + one.skipped + one.failed + one.passed_over
    if one.finished or not one.total:
        return 100 if one.status == "done" else min(100, 100 * settled // max(1, one.total))
    return min(99, 100 * settled // one.total)


def _hint(caller: Caller, one: Replay) -> str:
    """Why it does not go on, where that is so."""
    if one.message:
        return one.message[:1].upper() + one.message[1:]
    if one.status not in _ON_ITS_WAY:
        return ""
    found = caller.services.config.current().integrations.get(one.integration_id)
    if found is not None and not found.enabled:
        return "Waits: the integration is switched off"
    return "Its first deliveries are on their way" if one.waiting and not one.delivered else ""
