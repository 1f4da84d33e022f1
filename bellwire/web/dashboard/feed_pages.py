"""The live feed and one delivery opened up."""

import asyncio

from starlette.responses import RedirectResponse, Response

from bellwire.db.attempts import NO_EVENT_SEQ
from bellwire.db.browse import EventDetail, load_event
from bellwire.db.deliveries import Attempt, load_attempt, load_attempt_lines, load_delivery
from bellwire.db.feed import FeedPage, latest_attempt_id, load_page
from bellwire.db.feed_queue import load_queued
from bellwire.db.feed_rows import FeedFilters, FeedRow
from bellwire.db.notices import Notice, list_notices
from bellwire.kit.ids import read_row_id
from bellwire.model.enums import Environment, EventType
from bellwire.web.dashboard.bodies import read_body, read_headers, read_timings
from bellwire.web.dashboard.caller import Caller, NotFound
from bellwire.web.dashboard.filters import STATUSES, read_filters, write_filters
from bellwire.web.dashboard.lines import STATUS_WORDS, Namer
from bellwire.web.dashboard.render import page

QUEUED_SHOWN_AFTER_MS = 1_000
"""A delivery that waits shorter than this is not shown as queued: it would only flicker."""


def home(caller: Caller) -> Response:
    """GET /: the first project's feed, or how to make a project."""
    projects = caller.projects()
    if projects:
        return RedirectResponse(f"/projects/{projects[0].id}/feed", status_code=303)
    return page(caller, "no_project.html", {"here": ""})


def show_feed(caller: Caller) -> Response:
    """GET /projects/{id}/feed."""
    filters = read_filters(caller.request.query_params)
    return page(caller, "feed.html", {"here": "feed", **feed_values(caller, filters)})


def show_older(caller: Caller) -> Response:
    """GET /projects/{id}/feed/older?before=: more rows for the end of the table."""
    project = caller.project()
    filters = read_filters(caller.request.query_params)
    before = read_row_id(caller.request.query_params.get("before", ""))
    if before is None:
        raise NotFound("This page of the feed does not exist.")
    with caller.reading() as connection:
        found = load_page(connection, project.id, filters, before=before)
        lines = Namer(connection, project.id, caller.apps()).lines(found.rows)
    return page(caller, "feed_older.html", {"lines": lines, "older": _older(project.id, filters, found), "page": found})


def feed_values(caller: Caller, filters: FeedFilters) -> dict[str, object]:
    """What the feed's template needs, read as one consistent view."""
    project = caller.project()
    now_ms = caller.now_ms
    with caller.reading() as connection:
        cursor = latest_attempt_id(connection, project.id)
        queued = load_queued(
            connection, project.id, filters, now_ms=now_ms, queued_before_ms=now_ms - QUEUED_SHOWN_AFTER_MS
        )
        found = load_page(connection, project.id, filters)
        lines = Namer(connection, project.id, caller.apps()).lines([*queued, *found.rows])
        notices: list[Notice] = list_notices(connection, project.id)
    return {
        "lines": lines,
        "page": found,
        "older": _older(project.id, filters, found),
        "stream": f"/projects/{project.id}/feed/stream{write_filters(filters, after=cursor)}",
        "filters": filters,
        "filtered_by_reader": any(caller.request.query_params.values()),
        "statuses": [(status.value, STATUS_WORDS[status]) for status in STATUSES],
        "event_types": [kind.value for kind in EventType],
        "environments": [environment.value for environment in Environment],
        "integrations": caller.integrations(),
        "apps": caller.apps(),
        "notices": notices,
    }


def show_delivery(caller: Caller) -> Response:
    """GET .../deliveries/{event_id}: the opened row, as a fragment; `?attempt=` shows an earlier attempt."""
    project = caller.project()
    wanted = read_row_id(caller.request.query_params.get("attempt", ""))
    row = delivery_of_path(caller)
    with caller.reading() as connection:
        line = Namer(connection, project.id, caller.apps()).line(row)
        event = load_event(connection, project.id, row.event_id)
        attempts = load_attempt_lines(connection, row)
        attempt_id = row.attempt_id if wanted is None else wanted
        attempt = None if attempt_id is None else load_attempt(connection, row, attempt_id)
    values: dict[str, object] = {"line": line, "event": event, "attempts": attempts, "attempt": attempt}
    values["can_retry"] = (
        row.event_seq != NO_EVENT_SEQ and row.integration_id in caller.services.config.current().integrations
    )
    return page(caller, "delivery.html", values | delivery_values(event, attempt))


def delivery_values(event: EventDetail | None, attempt: Attempt | None) -> dict[str, object]:
    """Request, answer and stage times in the form that the template shows."""
    return {
        "request_headers": read_headers(None if attempt is None else attempt.request_headers),
        "request_body": read_body(None if attempt is None else attempt.request_body),
        "response_headers": read_headers(None if attempt is None else attempt.response_headers),
        "response_body": read_body(None if attempt is None else attempt.response_body),
        "timings": [] if attempt is None else read_timings(attempt.timings),
        "event_body": read_body(None if event is None else event.payload),
        "stages": stages(event, attempt),
    }


def stages(event: EventDetail | None, attempt: Attempt | None) -> list[tuple[str, int, int | None]]:
    """(name, when, milliseconds since the stage before) from the store's own time to the answer (architecture D6).

    The step from the store's time can be negative, since the store's clock is not ours; it is left out then.
    """
    known: list[tuple[str, int | None]] = []
    if event is not None:
        known += [
            ("Store", event.store_time_ms),
            ("Received", event.received_at_ms),
            ("Committed", event.committed_at_ms),
        ]
    if attempt is not None and attempt.request_method is not None:
        known += [("Sent", attempt.started_at_ms)]
        known += [("No answer" if attempt.error else "Answered", attempt.started_at_ms + attempt.duration_ms)]
    found: list[tuple[str, int, int | None]] = []
    for name, at_ms in known:
        if at_ms is None:
            continue
        step = at_ms - found[-1][1] if found else None
        found.append((name, at_ms, step if step is None or step >= 0 else None))
    return found


async def retry(caller: Caller, form: dict[str, str]) -> Response:
    """POST .../deliveries/{event_id}/retry."""
    row = await asyncio.to_thread(delivery_of_path, caller)
    caller.integration()  # a deleted one shows its history but sends nothing
    if row.event_seq == NO_EVENT_SEQ:
        raise NotFound("A test event is not kept. Send another one from the integration's page.")
    await caller.services.delivery.retry(caller.project().id, row.integration_id, row.event_seq)
    if "hx-request" in caller.request.headers:
        return page(caller, "said.html", {"said": "Trying again now."})
    return RedirectResponse(f"/projects/{caller.project().id}/events/{row.event_id}", status_code=303)


def delivery_of_path(caller: Caller) -> FeedRow:
    """The delivery that the path names, within its project. Raises NotFound."""
    project = caller.project()
    with caller.reading() as connection:
        row = load_delivery(connection, project.id, caller.path("integration_id"), caller.path("event_id"))
    if row is None:
        raise NotFound("This project has no such delivery.")
    return row


def _older(project_id: str, filters: FeedFilters, found: FeedPage) -> str | None:
    if found.older_than is None:
        return None
    return f"/projects/{project_id}/feed/older{write_filters(filters, before=found.older_than)}"
