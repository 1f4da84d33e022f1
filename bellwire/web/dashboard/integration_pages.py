"""Integrations: how each is doing, and one with its settings, its test button and its own feed."""

from starlette.responses import RedirectResponse, Response

from bellwire.db.browse import load_public_settings
from bellwire.db.health import load_integration_health
from bellwire.web.dashboard.caller import Caller
from bellwire.web.dashboard.feed_pages import feed_values
from bellwire.web.dashboard.filters import read_filters
from bellwire.web.dashboard.render import page


def list_integrations(caller: Caller) -> Response:
    """GET /projects/{id}/integrations."""
    integrations = caller.integrations()
    with caller.reading() as connection:
        ids = [one.id for one in integrations]
        health = load_integration_health(connection, ids, now_ms=caller.now_ms)
    values = {"here": "integrations", "integrations": integrations, "health": health}
    return page(caller, "integrations.html", values)


def show_integration(caller: Caller) -> Response:
    """GET /projects/{id}/integrations/{iid}."""
    integration = caller.integration()
    filters = read_filters(caller.request.query_params, integration_id=integration.id)
    with caller.reading() as connection:
        health = load_integration_health(connection, [integration.id], now_ms=caller.now_ms)[integration.id]
        public = load_public_settings(connection, integration.project_id, integration.id)
    names = {app.id: app.name for app in caller.apps()}
    values: dict[str, object] = {
        "here": "integrations",
        "integration": integration,
        "health": health,
        "settings": public,
        "secret_names": [name for name, value in integration.settings.items() if name not in public and value],
        "app_name": names.get(integration.app_id or ""),
    }
    return page(caller, "integration.html", values | feed_values(caller, filters))


async def send_test(caller: Caller, form: dict[str, str]) -> Response:
    """POST /projects/{id}/integrations/{iid}/test."""
    integration = caller.integration()
    await caller.services.delivery.send_test(integration.project_id, integration.id)
    if "hx-request" in caller.request.headers:
        return page(caller, "said.html", {"said": "Test event sent; it shows in the feed below."})
    return RedirectResponse(f"/projects/{integration.project_id}/integrations/{integration.id}", status_code=303)
