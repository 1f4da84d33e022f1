"""The way into every page: session first, then CSRF for what changes something, then the handler, then headers."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bellwire.db.engine import reader
from bellwire.db.users import Session, csrf_matches, load_session
from bellwire.delivery.service import DeliveryRefused
from bellwire.kit.clock import SystemClock
from bellwire.web.dashboard.caller import Caller, NotFound
from bellwire.web.dashboard.forms import BadForm, read_form
from bellwire.web.dashboard.headers import secure
from bellwire.web.dashboard.ports import DashboardServices
from bellwire.web.dashboard.render import error_page

Endpoint = Callable[[Request], Awaitable[Response]]
PageHandler = Callable[[Caller], Response]
ActionHandler = Callable[[Caller, dict[str, str]], Awaitable[Response]]


def cookie_name(services: DashboardServices) -> str:
    """`__Host-` binds the cookie to this host and to https, where there is https."""
    return "__Host-bellwire_session" if is_https(services) else "bellwire_session"


def is_https(services: DashboardServices) -> bool:
    """Whether people reach the hub over TLS."""
    return services.settings.resolved_public_url().startswith("https://")


def page(services: DashboardServices, handler: PageHandler) -> Endpoint:
    """A GET page. The handler is plain synchronous code and runs on a thread."""

    async def endpoint(request: Request) -> Response:
        caller = await identify(request, services)
        if caller is None:
            return secure(to_login(request))
        try:
            return secure(await asyncio.to_thread(handler, caller))
        except NotFound as error:
            return secure(error_page(404, "Not found", str(error), caller))

    return endpoint


def action(services: DashboardServices, handler: ActionHandler) -> Endpoint:
    """A POST that changes something: only with the session's CSRF token, in the form or in a header."""

    async def endpoint(request: Request) -> Response:
        caller = await identify(request, services)
        if caller is None:
            return secure(to_login(request))
        try:
            form = await read_form(request)
        except BadForm as error:
            return secure(error_page(400, "Bad request", str(error), caller))
        presented = request.headers.get("x-csrf-token") or form.get("csrf", "")
        if not csrf_matches(caller.session, presented):
            message = "This form has expired. Load the page again and repeat what you did."
            return secure(error_page(403, "Not accepted", message, caller))
        try:
            return secure(await handler(caller, form))
        except NotFound as error:
            return secure(error_page(404, "Not found", str(error), caller))
        except DeliveryRefused as error:
            reason = str(error)
            return secure(error_page(409, "Not done", f"{reason[:1].upper()}{reason[1:]}.", caller))

    return endpoint


async def identify(request: Request, services: DashboardServices) -> Caller | None:
    """The logged-in person behind a request."""
    token = request.cookies.get(cookie_name(services), "")
    session = await asyncio.to_thread(_load, services, token) if token else None
    return None if session is None else Caller(request, services, session, token)


def to_login(request: Request) -> Response:
    """To the login page and back afterwards; htmx is told to leave the page, not to swap the form in."""
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = "/login" if request.method != "GET" or back == "/" else f"/login?next={quote(back, safe='/')}"
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    return RedirectResponse(target, status_code=303)


def _load(services: DashboardServices, token: str) -> Session | None:
    with reader(services.engine).begin() as connection:
        return load_session(connection, token, now_ms=SystemClock().now_ms())
