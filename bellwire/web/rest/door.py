"""One authenticated request of a server to the v2 wire, and how endpoints are opened to it (spec: api 4, 4.1)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec
import sqlalchemy as sa

from bellwire.db.engine import reader
from bellwire.db.keys import ApiKey, KeyKind, hash_key
from bellwire.kit.clock import SystemClock
from bellwire.kit.endpoints import Call, Endpoint, Problem, Reply
from bellwire.model.projects import Integration
from bellwire.web.limits import InboundLimits
from bellwire.web.rest.errors import ParameterError, missing
from bellwire.web.services import Services

T = TypeVar("T")

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
_LONGEST_ID = 1_500


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A list, or a part of one."""

    object: str
    items: Sequence[object]
    next_page: str | None
    url: str


@dataclass(frozen=True)
class Visitor:
    """What a handler works with: nothing but the key's own project."""

    services: Services
    call: Call
    key: ApiKey

    @property
    def project_id(self) -> str:
        return self.key.project_id

    @property
    def now_ms(self) -> int:
        """Real time: what is delivered lives by it."""
        return SystemClock().now_ms()

    @property
    def name(self) -> str:
        """Who asks, for the log: never the key itself."""
        return f"API key {self.key.name} ({self.key.hint})"

    def path(self, name: str) -> str:
        """A part of the path as text that databases take. Raises Problem 404."""
        text = self.call.parameters[name]
        if len(text) > _LONGEST_ID or not _is_plain(text):
            raise Problem(404, "There is no such thing.")
        return text

    def query(self, name: str) -> str | None:
        """A parameter of the address; None when it is not given or empty. Raises ParameterError."""
        text = self.call.query.get(name, "")
        if len(text) > _LONGEST_ID or not _is_plain(text):
            raise ParameterError(name, f"{name} is not valid text")
        return text or None

    def limit(self) -> int:
        """How many items a page has."""
        text = self.query("limit")
        if text is None:
            return DEFAULT_LIMIT
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise ParameterError("limit", "limit is not a number")
        return min(MAX_LIMIT, max(1, int(text)))

    async def json(self, kind: type[T]) -> T:
        """The body. Raises BadBody, or Problem 400 when it does not say that it is JSON."""
        content_type = (self.call.header("content-type") or "").split(";")[0].strip().lower()
        if content_type != "application/json":
            raise Problem(400, "The body must be JSON, with the header Content-Type: application/json.")
        return await self.call.json(kind)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Something out of the database, on a thread."""

        def run() -> T:
            with reader(self.services.engine).begin() as connection:
                return work(connection)

        return await asyncio.to_thread(run)

    def integration(self, integration_id: str) -> Integration:
        """One of the project's. Raises Problem 404."""
        found = self.services.config.current().integrations.get(integration_id)
        if found is None or found.project_id != self.project_id:
            raise missing("integration", integration_id)
        return found

    def page(self, items: Sequence[object], *, path: str, more_after: str | None, **filters: str | None) -> Page:
        """`path` is below the project; `more_after` is the last item's id when there are more."""
        url = f"/v2/projects/{quote(self.project_id)}{path}"
        following = {name: value for name, value in filters.items() if value is not None}
        following |= {"starting_after": more_after or "", "limit": str(self.limit())}
        return Page(
            object="list",
            items=items,
            next_page=None if more_after is None else f"{url}?{urlencode(following)}",
            url=url,
        )


Handler = Callable[[Visitor], Awaitable[Reply]]


def endpoint(services: Services, limits: InboundLimits, method: str, path: str, handler: Handler) -> Endpoint:
    """Below the project; the key is checked before anything else."""

    async def handle(call: Call) -> Reply:
        key = _authenticate(services, limits, call)
        if call.parameters["project_id"] != key.project_id:
            raise Problem(403, "This API key is not one of that project.")
        return await handler(Visitor(services, call, key))

    return Endpoint(method, "/v2/projects/{project_id}" + path, handle)


def _authenticate(services: Services, limits: InboundLimits, call: Call) -> ApiKey:
    scheme, _, secret = (call.header("authorization") or "").partition(" ")
    known = services.config.current().key(hash_key(secret.strip())) if scheme.lower() == "bearer" else None
    if known is None:
        limits.refused(call.client_ip)
        raise Problem(401, "Send the header Authorization: Bearer, with a valid secret API key.")
    limits.asked(known.id, call.client_ip, is_secret=known.kind is KeyKind.SECRET)
    if known.kind is not KeyKind.SECRET:
        raise Problem(403, "This takes a secret API key; public ones are for apps.")
    return known


def _is_plain(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
