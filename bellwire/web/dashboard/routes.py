"""Every address of the dashboard."""

from starlette.routing import BaseRoute, Mount, Route

from bellwire.web.dashboard import parked_pages, replay_pages
from bellwire.web.dashboard.app_pages import dismiss, list_apps
from bellwire.web.dashboard.assets import Assets
from bellwire.web.dashboard.event_pages import show_customer, show_event
from bellwire.web.dashboard.feed_pages import home, retry, show_delivery, show_feed, show_older
from bellwire.web.dashboard.guard import action, page
from bellwire.web.dashboard.integration_pages import list_integrations, pause, resume, send_test, show_integration
from bellwire.web.dashboard.login import Login
from bellwire.web.dashboard.ports import DashboardServices
from bellwire.web.dashboard.stream import stream

PAGES = {
    "/": home,
    "/projects/{project_id}/feed": show_feed,
    "/projects/{project_id}/feed/older": show_older,
    "/projects/{project_id}/integrations": list_integrations,
    "/projects/{project_id}/integrations/{integration_id}": show_integration,
    "/projects/{project_id}/integrations/{integration_id}/deliveries/{event_id}": show_delivery,
    "/projects/{project_id}/replays": replay_pages.list_all,
    "/projects/{project_id}/replays/rows": replay_pages.list_rows,
    "/projects/{project_id}/replays/new": replay_pages.show_new,
    "/projects/{project_id}/parked": parked_pages.list_all,
    "/projects/{project_id}/apps": list_apps,
    "/projects/{project_id}/customers/{customer_id}": show_customer,
    "/projects/{project_id}/events/{event_id}": show_event,
}
ACTIONS = {
    "/projects/{project_id}/integrations/{integration_id}/test": send_test,
    "/projects/{project_id}/integrations/{integration_id}/pause": pause,
    "/projects/{project_id}/integrations/{integration_id}/resume": resume,
    "/projects/{project_id}/integrations/{integration_id}/deliveries/{event_id}/retry": retry,
    "/projects/{project_id}/replays": replay_pages.start,
    "/projects/{project_id}/replays/{replay_id}/cancel": replay_pages.cancel,
    "/projects/{project_id}/parked/retry": parked_pages.retry,
    "/projects/{project_id}/parked/discard": parked_pages.discard,
    "/projects/{project_id}/notices/dismiss": dismiss,
}


def routes(services: DashboardServices) -> list[BaseRoute]:
    """The dashboard's routes, to be mounted at the root."""
    login = Login(services)
    return [
        Mount("/static", Assets()),
        Route("/login", login.show, methods=["GET"]),
        Route("/login", login.submit, methods=["POST"]),
        Route("/logout", action(services, login.log_out), methods=["POST"]),
        Route("/projects/{project_id}/feed/stream", stream(services), methods=["GET"]),
        *(Route(path, action(services, handler), methods=["POST"]) for path, handler in ACTIONS.items()),
        *(Route(path, page(services, handler), methods=["GET"]) for path, handler in PAGES.items()),
    ]
