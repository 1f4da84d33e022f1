"""Every address of the hub, and what it demands of who comes without anything."""

from pathlib import Path
from typing import cast

import pytest
from starlette.routing import Mount, Route

from bellwire.kit.endpoints import Surface, Surfaces
from bellwire.web.dashboard.headers import SECURITY_HEADERS
from tests.security.person import stranger
from tests.support.world import World, live

OPEN = {
    ("GET", "/healthz"): 200,
    ("GET", "/readyz"): 200,
    ("GET", "/login"): 200,
    ("POST", "/login"): 400,
    ("GET", "/v1/health"): 200,
    ("POST", "/v1/incoming-webhooks/{store}/{app_token}"): 404,
    ("GET", "/static"): 404,
    ("GET", "/metrics"): 200,  # from this machine alone: tests/web/test_metrics.py
}
"""What answers without a key or session, and how: a new address here is a decision, not an accident."""


def addresses(it: World) -> set[tuple[str, str]]:
    """Every method and path pattern that the process answers."""
    found: set[tuple[str, str]] = set()
    for route in it.hub.web.routes:
        if isinstance(route, Mount):
            found.add(("GET", route.path))
        else:
            assert isinstance(route, Route)
            found |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
    for middleware in it.hub.web.user_middleware:
        assert middleware.cls is Surfaces
        for surface in cast(list[Surface], middleware.kwargs["surfaces"]):
            for entries in surface._routes.values():
                found |= {(endpoint.method, endpoint.path) for _, endpoint in entries}
    return found


def test_unauthenticated_callers_get_nothing_anywhere(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        known = addresses(it)
        assert len(known) > 35
        assert set(OPEN) <= known
        async with stranger(it.url) as nobody:
            for method, pattern in sorted(known):
                path = pattern.replace("{", "").replace("}", "")
                answer = await nobody.ask(method, path)
                if (method, pattern) in OPEN:
                    assert answer.status == OPEN[method, pattern], pattern
                elif pattern.startswith(("/v1/", "/v2/", "/rcbilling/")):
                    assert answer.status == 401, (method, pattern)
                elif pattern.endswith("/stream"):
                    assert answer.status == 401, pattern
                else:
                    assert (answer.status, answer.headers.get("location", "").split("?")[0]) == (303, "/login"), (
                        method,
                        pattern,
                    )

    live(tmp_path, scene)


@pytest.mark.parametrize("kind", ["public", "secret"])
def test_api_keys_do_not_open_pages(tmp_path: Path, kind: str) -> None:
    async def scene(it: World) -> None:
        key = it.apple_key if kind == "public" else it.secret_key
        async with stranger(it.url) as nobody:
            for headers in ({"authorization": f"Bearer {key}"}, {"cookie": f"bellwire_session={key}"}):
                answer = await nobody.get(f"/projects/{it.project_id}/feed", **headers)
                assert answer.status == 303

    live(tmp_path, scene)


def test_clickjacking_and_sniffing_whatever_is_answered(tmp_path: Path) -> None:
    paths = ("/", "/nothing", "/login", "/login/", "/projects/x/feed", "/static/nothing", "/logout", "/%00")

    async def scene(it: World) -> None:
        async with stranger(it.url) as nobody:
            for path in paths:
                for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
                    answer = await nobody.ask(method, path)
                    assert SECURITY_HEADERS.items() <= answer.headers.items(), (method, path, answer.status)

    live(tmp_path, scene)


def test_no_address_is_made_of_the_host_that_a_client_names(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        async with stranger(it.url) as nobody:
            for path in ("/login/", "/", "//evil.example/login", "/static", "/projects/x/feed/"):
                answer = await nobody.get(path, host="evil.example")
                assert "evil.example" not in answer.headers.get("location", "").removeprefix("/login"), path

    live(tmp_path, scene)


def test_a_page_elsewhere_does_not_read_metrics_through_a_browser_here(tmp_path: Path) -> None:
    """Its name may lead to this machine a moment later: then the browser asks by that name, and shows it the answer."""

    async def scene(it: World) -> None:
        async with stranger(it.url) as nobody:
            assert (await nobody.get("/metrics")).status == 200
            for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example"):
                assert (await nobody.get("/metrics", host=host)).status in (400, 403), host

    live(tmp_path, scene)
