"""Logging in and out. The login form carries a token that a cookie must match, so no other site can post it."""

import asyncio
import hmac
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bellwire.db.engine import reader
from bellwire.db.users import User, authenticate, create_session, delete_session
from bellwire.kit.clock import SystemClock
from bellwire.kit.ids import new_token
from bellwire.web.dashboard.caller import Caller
from bellwire.web.dashboard.forms import BadForm, read_form
from bellwire.web.dashboard.guard import cookie_name, identify, is_https
from bellwire.web.dashboard.headers import secure
from bellwire.web.dashboard.limits import FailedLogins
from bellwire.web.dashboard.ports import DashboardServices
from bellwire.web.dashboard.render import login_page

log = structlog.get_logger()

HASHES_AT_ONCE = 2
"""Password checks that run at the same time: each costs a core and tens of MiB for a moment."""


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    now_ms: int
    lifetime_ms: int


class Login:
    """The doors of the dashboard."""

    def __init__(self, services: DashboardServices) -> None:
        self._services = services
        self._failures = FailedLogins()
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        self._form_cookie = "__Host-bellwire_login" if is_https(services) else "bellwire_login"

    async def show(self, request: Request) -> Response:
        """GET /login."""
        target = local_path(request.query_params.get("next", ""))
        if await identify(request, self._services) is not None:
            return secure(RedirectResponse(target, status_code=303))
        return secure(self._form(request, target))

    async def submit(self, request: Request) -> Response:
        """POST /login."""
        try:
            form = await read_form(request)
        except BadForm as error:
            return secure(self._form(request, "/", error=str(error), status=400))
        target = local_path(form.get("next", ""))
        email = form.get("email", "").strip().lower()
        cookie = request.cookies.get(self._form_cookie, "")
        if not cookie or not hmac.compare_digest(cookie.encode(), form.get("csrf", "").encode()):
            message = "The form had expired. Please try again."
            return secure(self._form(request, target, email=email, error=message, status=403))
        client = "" if request.client is None else request.client.host
        wait_s = self._failures.retry_after_s(client, email)
        if wait_s:
            log.warning("login.refused", reason="too many failures")
            minutes = -(-wait_s // 60)
            message = f"Too many failed logins. Try again in {minutes} minute{'' if minutes == 1 else 's'}."
            response = self._form(request, target, email=email, error=message, status=429)
            response.headers["retry-after"] = str(wait_s)
            return secure(response)
        self._failures.tried(client, email)  # counted before the slow check, so that parallel guesses count too
        async with self._hashing:
            user = await asyncio.to_thread(self._check, email, form.get("password", ""))
        if user is None:
            log.warning("login.failed")
            message = "E-mail address or password is wrong."
            return secure(self._form(request, target, email=email, error=message, status=401))
        self._failures.succeeded(client, email)
        return secure(await self._open(user, target))

    async def log_out(self, caller: Caller, form: dict[str, str]) -> Response:
        """POST /logout."""
        await self._services.writer.write(_close_sessions, caller.token)
        response = RedirectResponse("/login", status_code=303)
        secure_cookie = is_https(self._services)
        response.delete_cookie(cookie_name(self._services), path="/", secure=secure_cookie, httponly=True)
        return response

    def _check(self, email: str, password: str) -> User | None:
        with reader(self._services.engine).begin() as connection:
            return authenticate(connection, email, password)

    async def _open(self, user: User, target: str) -> Response:
        lifetime_s = self._services.settings.session_hours * 3600
        new = NewSession(user_id=user.id, now_ms=SystemClock().now_ms(), lifetime_ms=lifetime_s * 1000)
        token = await self._services.writer.write(_open_sessions, new)
        log.info("login.done", user_id=user.id)
        response = RedirectResponse(target, status_code=303)
        response.delete_cookie(self._form_cookie, path="/", secure=is_https(self._services))
        response.set_cookie(
            cookie_name(self._services),
            token,
            max_age=lifetime_s,
            path="/",
            secure=is_https(self._services),
            httponly=True,
            samesite="lax",
        )
        return response

    def _form(self, request: Request, target: str, *, email: str = "", error: str = "", status: int = 200) -> Response:
        token = request.cookies.get(self._form_cookie) or new_token()
        response = login_page(status, csrf=token, next_path=target, email=email, error=error)
        response.set_cookie(
            self._form_cookie, token, path="/", secure=is_https(self._services), httponly=True, samesite="strict"
        )
        return response


def local_path(text: str) -> str:
    """A path on this host to go on to; anything else (another site, `//host`) becomes the start page."""
    if not text.startswith("/") or text.startswith(("//", "/\\")) or any(ord(letter) < 33 for letter in text):
        return "/"
    return text


def _open_sessions(connection: sa.Connection, payloads: Sequence[NewSession]) -> list[str]:
    return [
        create_session(connection, new.user_id, now_ms=new.now_ms, lifetime_ms=new.lifetime_ms)[0] for new in payloads
    ]


def _close_sessions(connection: sa.Connection, payloads: Sequence[str]) -> list[bool]:
    return [delete_session(connection, token) for token in payloads]
