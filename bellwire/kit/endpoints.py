"""Typed endpoints over ASGI: routing on raw paths, limited bodies, JSON in and out, errors as JSON, CORS.

A `Surface` is a set of endpoints that speak alike. Paths are matched segment by segment before percent-decoding, so
that an encoded slash stays inside its segment; each segment is decoded exactly once and `+` means itself. What an error
looks like, and which headers every answer carries, is handed in.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import TypeVar
from urllib.parse import unquote

import msgspec
import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from bellwire.kit.bodies import decode_json
from bellwire.kit.cors import CORS
from bellwire.kit.incoming import BodyTooLarge, Disconnected, read_body

T = TypeVar("T")

log = structlog.get_logger()

_MAX_QUERY_FIELDS = 50


class Problem(Exception):
    """A request that gets an error answer. Surfaces subclass it to say more in the body."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


class Reply(msgspec.Struct, frozen=True):
    """An answer: `body` is encoded as JSON, None sends no bytes at all."""

    status: int
    body: object = None
    headers: dict[str, str] = {}


class Call:
    """One request, as far as endpoints need it."""

    def __init__(self, scope: Scope, receive: Receive, *, request_id: str, max_body_bytes: int) -> None:
        self.method: str = scope["method"]
        self.headers = Headers(scope=scope)
        self.parameters: dict[str, str] = {}
        """Decoded path parameters. Bytes that are not UTF-8 show as lone surrogates, an encoded slash as a slash."""
        self.query = _query(scope)
        """Parameters after the `?`; of a repeated one the last counts. Bytes that are not UTF-8 as in `parameters`."""
        self.request_id = request_id
        self.client_ip: str | None = scope["client"][0] if scope.get("client") else None
        self._receive = receive
        self._max_body_bytes = max_body_bytes
        self._body: bytes | None = None

    def header(self, name: str) -> str | None:
        """A header's text; an empty one counts as not sent."""
        return self.headers.get(name, "").strip() or None

    async def body(self) -> bytes:
        """All bytes of the body. Raises Problem 413 beyond the limit, whatever Content-Length said."""
        if self._body is None:
            try:
                self._body = await read_body(self.headers, self._receive, self._max_body_bytes)
            except BodyTooLarge as error:
                raise Problem(413, str(error), headers={"Connection": "close"}) from None
        return self._body

    async def json(self, kind: type[T]) -> T:
        """The body as `kind`, whatever its content type says. Raises BadBody."""
        return decode_json(await self.body(), kind)


Handler = Callable[[Call], Awaitable[Reply]]


class Endpoint(msgspec.Struct, frozen=True):
    """One method on one path; `{name}` stands for one segment."""

    method: str
    path: str
    handle: Handler


class Surface:
    """Endpoints under one prefix; an ASGI application. Everything under the prefix is answered here, 404 included.

    `error_body` makes the JSON of an error. `translate` turns exceptions of inner rooms into problems; what it does not
    know is a 500. `stamp` gives headers for every answer. `note` hears of every answer and how many ms it
    took.
    """

    def __init__(
        self,
        prefix: str,
        endpoints: Sequence[Endpoint],
        *,
        error_body: Callable[[Problem], object],
        translate: Callable[[Exception], Problem | None],
        stamp: Callable[[], Mapping[str, str]],
        note: Callable[[Call, Reply, float], None],
        max_body_bytes: int,
        cors: CORS | None = None,
    ) -> None:
        self._prefix = prefix
        self._note = note
        self._error_body = error_body
        self._translate = translate
        self._stamp = stamp
        self._max_body_bytes = max_body_bytes
        self._cors = cors
        self._routes: dict[int, list[tuple[list[str], Endpoint]]] = {}
        for endpoint in sorted(endpoints, key=lambda one: one.path.count("{")):
            pattern = endpoint.path.split("/")[1:]
            self._routes.setdefault(len(pattern), []).append((pattern, endpoint))

    def owns(self, scope: Scope) -> bool:
        """Whether the request is under this surface's prefix."""
        path: str = scope.get("path", "")
        return scope["type"] == "http" and (path == self._prefix or path.startswith(self._prefix + "/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        call = Call(scope, receive, request_id=_new_request_id(), max_body_bytes=self._max_body_bytes)
        try:
            reply = await self._answer(call, scope)
        except Disconnected:
            return
        await self._send(call, reply, send)
        self._note(call, reply, (time.perf_counter() - started) * 1000)

    async def _answer(self, call: Call, scope: Scope) -> Reply:
        if self._cors is not None and call.method == "OPTIONS":
            return Reply(204, headers=self._cors.preflight(call.header("access-control-request-headers")))
        try:
            return await self._route(call, scope)(call)
        except Disconnected:
            raise
        except Problem as problem:
            return self._refuse(problem)
        except Exception as error:
            problem = self._translate(error)
            if problem is None:
                log.exception("request.failed", method=call.method, request_id=call.request_id)
                problem = Problem(500, f"Internal error; the log has it under request {call.request_id}.")
            return self._refuse(problem)

    def _refuse(self, problem: Problem) -> Reply:
        return Reply(problem.status, self._error_body(problem), problem.headers)

    def _route(self, call: Call, scope: Scope) -> Handler:
        """The handler; fills in the path parameters. Fixed segments win over parameters."""
        segments = _segments(scope)
        allowed: list[str] = []
        for pattern, endpoint in self._routes.get(len(segments), []):
            parameters = _match(pattern, segments)
            if parameters is None:
                continue
            if endpoint.method == call.method:
                call.parameters = parameters
                return endpoint.handle
            allowed.append(endpoint.method)
        if allowed:
            methods = ", ".join(sorted(set(allowed)))
            raise Problem(405, f"This path takes {methods}, not {call.method}.", headers={"Allow": methods})
        raise Problem(404, "There is nothing at this path.")

    async def _send(self, call: Call, reply: Reply, send: Send) -> None:
        body = b"" if reply.body is None else msgspec.json.encode(reply.body)
        headers = {**self._stamp(), **reply.headers}
        if self._cors is not None:
            headers |= self._cors.answer()
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        raw.append((b"x-request-id", call.request_id.encode()))
        if reply.body is not None:
            raw.append(_JSON)
        if reply.status not in (204, 304):
            raw.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


_JSON = (b"content-type", b"application/json")
_PROCESS = secrets.token_hex(8)
_requests = count(1)


def _new_request_id() -> str:
    """32 hex digits: those of this process, drawn at random, and a count."""
    return f"{_PROCESS}{next(_requests):016x}"


class Surfaces:
    """ASGI middleware: requests under a surface's prefix go there, the first that fits, all others to the application.

    A router cannot stand here: it looks at decoded paths, in which an encoded slash or line break has become a real one.
    """

    def __init__(self, app: ASGIApp, surfaces: Sequence[Surface]) -> None:
        self._app = app
        self._surfaces = tuple(surfaces)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for surface in self._surfaces:
            if surface.owns(scope):
                return await surface(scope, receive, send)
        await self._app(scope, receive, send)
        return None


def _query(scope: Scope) -> dict[str, str]:
    raw: bytes = scope.get("query_string", b"")
    if not raw:
        return {}
    pairs = raw.decode("utf-8", "surrogateescape").split("&")[:_MAX_QUERY_FIELDS]
    decoded = [pair.replace("+", " ").partition("=") for pair in pairs]
    return {
        unquote(name, errors="surrogateescape"): unquote(value, errors="surrogateescape") for name, _, value in decoded
    }


def _segments(scope: Scope) -> list[str]:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    text = raw.partition(b"?")[0].decode("utf-8", "surrogateescape")
    return [unquote(segment, errors="surrogateescape") for segment in text.split("/")[1:]]


def _match(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    parameters: dict[str, str] = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            parameters[expected[1:-1]] = segment
        elif expected != segment:
            return None
    return parameters
