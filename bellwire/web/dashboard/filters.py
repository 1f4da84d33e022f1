"""The feed's filters as the address bar holds them."""

from urllib.parse import urlencode

import msgspec
from starlette.datastructures import QueryParams

from bellwire.db.feed_rows import FeedFilters, FeedStatus
from bellwire.model.enums import Environment, EventType

STATUSES = (FeedStatus.QUEUED, FeedStatus.RETRYING, FeedStatus.SENT, FeedStatus.FAILED, FeedStatus.SKIPPED)
"""What can be chosen; `sending` lasts too short for that and counts as queued."""


def read_filters(query: QueryParams, *, integration_id: str | None = None) -> FeedFilters:
    """Filters of a query string; values that mean nothing are left out. `integration_id` is fixed by some pages."""
    status = query.get("status", "")
    environment = query.get("environment", "")
    return FeedFilters(
        status=FeedStatus(status) if status in STATUSES else None,
        event_type=query.get("type") if query.get("type") in set(EventType) else None,
        integration_id=integration_id or _text(query, "integration"),
        environment=environment if environment in set(Environment) else None,
        customer=_text(query, "customer"),
    )


def _text(query: QueryParams, name: str) -> str | None:
    """A value as databases take it: they hold no NUL, so nothing is found by one."""
    return query.get(name, "").strip().replace("\x00", "\ufffd") or None


def write_filters(filters: FeedFilters, **more: object) -> str:
    """The query string of filters, with `?` in front; empty without any."""
    names = {"event_type": "type", "integration_id": "integration"}
    chosen = {names.get(name, name): value for name, value in msgspec.structs.asdict(filters).items() if value}
    pairs = chosen | {name: value for name, value in more.items() if value is not None}
    return f"?{urlencode(pairs)}" if pairs else ""
