"""One authenticated request of an SDK or a REST client, and how endpoints are opened to them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

from bellwire.engine.customer_info import customer_info
from bellwire.engine.identity import check_app_user_id
from bellwire.ingest.calls import CustomerView, Visit
from bellwire.kit.countries import alpha_2
from bellwire.kit.endpoints import Call, Endpoint, Reply
from bellwire.model.customer_info import CustomerInfo
from bellwire.web.auth import Caller, authenticate, require_public
from bellwire.web.errors import WireError
from bellwire.web.limits import InboundLimits
from bellwire.web.sdk.platforms import MANAGEMENT_URLS, store_of_platform
from bellwire.web.services import Services

_LONGEST_HEADER = 100
"""Of what is stored from a header."""


class Keys(Enum):
    """Which keys open an endpoint."""

    ANY = auto()
    PUBLIC = auto()
    """SDKs alone: a secret key is refused."""


@dataclass(frozen=True)
class Visitor:
    """What a handler works with."""

    services: Services
    call: Call
    caller: Caller

    @property
    def project_id(self) -> str:
        return self.caller.project.id

    @property
    def platform(self) -> str | None:
        """`X-Platform` in lower case: SDKs do not agree on capitals."""
        platform = self.call.header("x-platform")
        return None if platform is None else platform.lower()[:_LONGEST_HEADER]

    def app_user_id(self) -> str:
        """The path's id. Raises InvalidAppUserId."""
        app_user_id = self.call.parameters["app_user_id"]
        check_app_user_id(app_user_id)
        return app_user_id

    def visit(self) -> Visit | None:
        """Evidence of the customer's device; None for a server (a secret key without `X-Platform`).

        Sources: api 1.2 and 3.1 (`X-Platform` marks a visit), events 8.3 (so does every call with a public key).
        """
        if self.caller.is_secret and self.platform is None:
            return None
        version = self.call.header("x-client-version")
        return Visit(
            country=alpha_2(self.call.header("x-storefront")),
            platform=self.platform,
            app_version=None if version is None else version[:_LONGEST_HEADER],
            ip=self.call.client_ip,
        )

    def info(self, view: CustomerView) -> CustomerInfo:
        """The customer as this caller may see it: attributes are for secret keys only."""
        return customer_info(
            view.customer,
            view.chains,
            view.catalogue,
            view.settings,
            now_ms=view.now_ms,
            with_attributes=self.caller.is_secret,
            management_urls=MANAGEMENT_URLS,
            platform_store=store_of_platform(self.platform),
        )


Handler = Callable[[Visitor], Awaitable[Reply]]


_RECEIPTS = "/v1/receipts"


def endpoint(
    services: Services, limits: InboundLimits, method: str, path: str, handler: Handler, *, keys: Keys
) -> Endpoint:
    """Put the check of the key before `handler`: who may not ask learns nothing about the rest of the request.

    Too many receipts are answered 503: on 429 some SDKs would drop the purchase (spec: api 0, rule 4).
    """
    too_many = 503 if path == _RECEIPTS else 429

    async def handle(call: Call) -> Reply:
        try:
            caller = authenticate(services.config.current(), call.header("authorization"))
        except WireError:
            limits.refused(call.client_ip)
            raise
        limits.asked(caller.key_id, call.client_ip, is_secret=caller.is_secret, status=too_many)
        if keys is Keys.PUBLIC:
            require_public(caller)
        return await handler(Visitor(services, call, caller))

    return Endpoint(method, path, handle)
