"""The feed's stream of server-sent events.

Data always comes from the table; the queue of new attempt ids only says when to look. The event id is an attempt id, so
that a reader who comes back (`Last-Event-ID`, or `after` in the address) goes on where it was, whatever was restarted.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from bellwire.db.engine import reader
from bellwire.db.feed import FeedCursor, latest_attempt_id, load_changes
from bellwire.db.feed_queue import load_queued
from bellwire.db.feed_rows import FeedFilters, FeedStatus
from bellwire.kit.ids import read_row_id
from bellwire.web.dashboard.caller import Caller, NotFound
from bellwire.web.dashboard.feed_pages import QUEUED_SHOWN_AFTER_MS
from bellwire.web.dashboard.filters import read_filters
from bellwire.web.dashboard.guard import Endpoint, identify
from bellwire.web.dashboard.headers import secure
from bellwire.web.dashboard.lines import FeedLine, Namer
from bellwire.web.dashboard.ports import DashboardServices
from bellwire.web.dashboard.render import fragment

HEARTBEAT_S = 15.0
POLL_S = 2.0
"""How often the table is looked at although nothing woke us: attempts of other processes, waiting deliveries."""
MIN_PAUSE_S = 0.25
"""At most four messages a second, each with all rows that came meanwhile."""
LOOKS_PER_SESSION_CHECK = 15
STREAMS_PER_SESSION = 20
"""Open at once: each looks at the tables all the time, and one session needs no more than its tabs."""


def stream(services: DashboardServices) -> Endpoint:
    """GET /projects/{id}/feed/stream."""
    open_streams: Counter[str] = Counter()

    async def endpoint(request: Request) -> Response:
        caller = await identify(request, services)
        if caller is None:
            return secure(Response(status_code=401))
        try:
            caller.project()
        except NotFound:
            return secure(Response(status_code=404))
        if open_streams[caller.token] >= STREAMS_PER_SESSION:
            return secure(Response("Too many open feeds: close some tabs.", 429, media_type="text/plain"))
        headers = {"x-accel-buffering": "no", "cache-control": "no-store"}
        return secure(
            StreamingResponse(_counted(caller, open_streams), media_type="text/event-stream", headers=headers)
        )

    return endpoint


async def _counted(caller: Caller, open_streams: Counter[str]) -> AsyncIterator[str]:
    """The messages, while the session's count is one higher."""
    open_streams[caller.token] += 1
    try:
        async for message in _messages(caller):
            yield message
    finally:
        open_streams[caller.token] -= 1
        if not open_streams[caller.token]:
            del open_streams[caller.token]


async def _messages(caller: Caller) -> AsyncIterator[str]:
    filters = read_filters(caller.request.query_params)
    cursor = FeedCursor.at(await asyncio.to_thread(_start, caller))
    wake = caller.services.delivery.subscribe()
    shown_queued: set[str] = set()
    loop = asyncio.get_running_loop()
    spoke_at = loop.time()
    looks = 0
    try:
        yield f"retry: 2000\nid: {cursor.newest}\n\n"
        while True:
            looks += 1
            if looks % LOOKS_PER_SESSION_CHECK == 0 and await identify(caller.request, caller.services) is None:
                return
            text, cursor, shown_queued = await asyncio.to_thread(_look, caller, filters, cursor, shown_queued)
            if text:
                yield _message("rows", text, cursor.newest)
                spoke_at = loop.time()
                await asyncio.sleep(MIN_PAUSE_S)
            elif loop.time() - spoke_at >= HEARTBEAT_S:
                yield ": still here\n\n"
                spoke_at = loop.time()
            if await _stopping(wake):
                return
    finally:
        caller.services.delivery.unsubscribe(wake)


async def _stopping(wake: "asyncio.Queue[int]") -> bool:
    """Wait for a new attempt, at most POLL_S, and take all that came; True when the hub is stopping."""
    try:
        async with asyncio.timeout(POLL_S):
            newest = await wake.get()
    except TimeoutError:
        return False
    while not wake.empty():
        newest = min(newest, wake.get_nowait())
    return newest < 0


def _start(caller: Caller) -> int:
    """Where the reader was: its last event id, else the id its page was made at, else now."""
    for text in (caller.request.headers.get("last-event-id", ""), caller.request.query_params.get("after", "")):
        cursor = read_row_id(text)
        if cursor is not None:
            return cursor
    with reader(caller.services.engine).begin() as connection:
        return latest_attempt_id(connection, caller.project().id)


def _look(
    caller: Caller, filters: FeedFilters, cursor: FeedCursor, shown_queued: set[str]
) -> tuple[str, FeedCursor, set[str]]:
    """Rows that changed since `cursor` as HTML, the new cursor, and the waiting deliveries shown by now."""
    project = caller.project()
    now_ms = caller.now_ms
    with caller.reading() as connection:
        changes, cursor = load_changes(connection, project.id, filters, after=cursor)
        queued = load_queued(
            connection, project.id, filters, now_ms=now_ms, queued_before_ms=now_ms - QUEUED_SHOWN_AFTER_MS
        )
        fresh = [row for row in queued if _queued_key(row.integration_id, row.event_id) not in shown_queued]
        if not changes and not fresh:
            return "", cursor, shown_queued
        namer = Namer(connection, project.id, caller.apps())
    lines: list[FeedLine] = [namer.line(row) for row in fresh]
    lines += [namer.line(row, shown=_passes(filters, row.settled_status)) for row in changes]
    text = fragment(caller, "feed_rows.html", {"lines": lines})
    return text, cursor, {_queued_key(row.integration_id, row.event_id) for row in queued}


def _queued_key(integration_id: str, event_id: str) -> str:
    return f"{integration_id}/{event_id}"


def _passes(filters: FeedFilters, status: FeedStatus) -> bool:
    return filters.status in (None, status)


def _message(name: str, text: str, cursor: int) -> str:
    data = "\n".join(f"data: {line}" for line in text.splitlines() if line.strip())
    return f"event: {name}\nid: {cursor}\n{data}\n\n"
