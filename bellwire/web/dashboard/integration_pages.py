"""Integrations: how each is doing, and one with its settings, its test button and its own feed."""

from starlette.responses import RedirectResponse, Response

from bellwire.db.browse import load_public_settings
from bellwire.db.health import IntegrationHealth, load_integration_health
from bellwire.db.lane_states import lane_status, pause_lane, resume_lane
from bellwire.db.stage_times import load_stage_times
from bellwire.destinations.registry import DESTINATIONS
from bellwire.model.projects import Integration
from bellwire.web.dashboard.caller import Caller
from bellwire.web.dashboard.feed_pages import feed_values
from bellwire.web.dashboard.filters import read_filters
from bellwire.web.dashboard.render import page

_LATELY_MS = 3_600_000


def list_integrations(caller: Caller) -> Response:
    """GET /projects/{id}/integrations."""
    integrations = caller.integrations()
    with caller.reading() as connection:
        ids = [one.id for one in integrations]
        health = load_integration_health(connection, ids, now_ms=caller.now_ms)
    states = {one.id: _status(one, health[one.id], caller.now_ms) for one in integrations}
    values = {"here": "integrations", "integrations": integrations, "health": health, "states": states}
    return page(caller, "integrations.html", values)


def show_integration(caller: Caller) -> Response:
    """GET /projects/{id}/integrations/{iid}."""
    integration = caller.integration()
    filters = read_filters(caller.request.query_params, integration_id=integration.id)
    with caller.reading() as connection:
        health = load_integration_health(connection, [integration.id], now_ms=caller.now_ms)[integration.id]
        public = load_public_settings(connection, integration.project_id, integration.id)
        times = load_stage_times(
            connection, integration.project_id, integration.id, since_ms=caller.now_ms - _LATELY_MS
        )
    names = {app.id: app.name for app in caller.apps()}
    declared = DESTINATIONS[integration.destination].rate_limit if integration.destination in DESTINATIONS else None
    values: dict[str, object] = {
        "here": "integrations",
        "integration": integration,
        "health": health,
        "times": times,
        "settings": public,
        "secret_names": [name for name, value in integration.settings.items() if name not in public and value],
        "app_name": names.get(integration.app_id or ""),
        "lane_status": _status(integration, health, caller.now_ms),
        "rate_limits": [limit for limit in (integration.rate_limit, declared) if limit is not None],
        "declared_limit": declared,
    }
    return page(caller, "integration.html", values | feed_values(caller, filters))


async def send_test(caller: Caller, form: dict[str, str]) -> Response:
    """POST /projects/{id}/integrations/{iid}/test."""
    integration = caller.integration()
    await caller.services.delivery.send_test(integration.project_id, integration.id)
    if "hx-request" in caller.request.headers:
        return page(caller, "said.html", {"said": "Test event sent; it shows in the feed below."})
    return _back_to(integration)


async def pause(caller: Caller, form: dict[str, str]) -> Response:
    """POST /projects/{id}/integrations/{iid}/pause."""
    integration = caller.integration()
    reason, now_ms = f"by hand, by {caller.session.email}", caller.now_ms
    await caller.services.writer.change(
        lambda c: pause_lane(c, integration.project_id, integration.id, reason=reason, now_ms=now_ms)
    )
    return _back_to(integration)


async def resume(caller: Caller, form: dict[str, str]) -> Response:
    """POST /projects/{id}/integrations/{iid}/resume: also ends a hold and an open breaker."""
    integration = caller.integration()
    await caller.services.writer.change(lambda c: resume_lane(c, integration.project_id, integration.id))
    return _back_to(integration)


def _status(integration: Integration, health: IntegrationHealth, now_ms: int) -> str:
    return lane_status(health.lane, enabled=integration.enabled, now_ms=now_ms).value


def _back_to(integration: Integration) -> Response:
    return RedirectResponse(f"/projects/{integration.project_id}/integrations/{integration.id}", status_code=303)
