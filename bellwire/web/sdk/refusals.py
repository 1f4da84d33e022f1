"""Paths that SDKs call and the hub has nothing for: each gets the answer that keeps its SDK going (spec: api 1.1, 1.11)."""

from collections.abc import Mapping

from bellwire.kit.endpoints import Reply
from bellwire.web.errors import Code, WireError
from bellwire.web.sdk.door import Handler, Keys, Visitor

EMPTY_ANSWERS: tuple[tuple[str, str, Mapping[str, object], Keys], ...] = (
    ("POST", "/v1/subscribers/{app_user_id}/intro_eligibility", {}, Keys.PUBLIC),
    ("POST", "/v1/subscribers/{app_user_id}/attribution", {}, Keys.ANY),
    ("POST", "/v1/subscribers/{app_user_id}/adservices_attribution", {}, Keys.PUBLIC),
    ("GET", "/v1/subscribers/{app_user_id}/virtual_currencies", {"virtual_currencies": {}}, Keys.PUBLIC),
    (
        "POST",
        "/v1/subscribers/{app_user_id}/restore/eligibility",
        {"is_purchase_allowed_by_restore_behavior": True},
        Keys.PUBLIC,
    ),
    ("GET", "/v1/subscribers/{app_user_id}/health_report_availability", {"report_logs": False}, Keys.PUBLIC),
    ("GET", "/v1/subscribers/{app_user_id}/workflows", {"workflows": [], "ui_config": {}}, Keys.PUBLIC),
    ("POST", "/v1/offers", {"offers": []}, Keys.PUBLIC),
    ("POST", "/v1/customercenter/support/create-ticket", {"sent": False}, Keys.PUBLIC),
    ("POST", "/v1/events", {}, Keys.PUBLIC),
    ("POST", "/v1/diagnostics", {}, Keys.PUBLIC),
)
"""Answered 200 with this body."""

EMPTY_WEB_ANSWERS: tuple[tuple[str, str, Mapping[str, object], Keys], ...] = (
    ("GET", "/rcbilling/v1/subscribers/{app_user_id}/products", {"product_details": []}, Keys.PUBLIC),
    ("GET", "/rcbilling/v1/subscribers/{app_user_id}/offering_products", {"offerings": {}}, Keys.PUBLIC),
)
"""The same for web billing."""

_NOT_HERE = Code.BAD_REQUEST

REFUSALS: tuple[tuple[str, str, int, Code, str], ...] = (
    ("POST", "/v1/config/{domain}", 404, _NOT_HERE, "Remote configuration is not offered here."),
    ("GET", "/v1/customercenter/{app_user_id}", 404, _NOT_HERE, "No customer center is set up."),
    ("GET", "/v1/subscribers/{app_user_id}/health_report", 404, _NOT_HERE, "Health reports are not offered here."),
    (
        "POST",
        "/v1/subscribers/redeem_purchase",
        400,
        Code.INVALID_REDEMPTION_TOKEN,
        "The redemption token is not valid: this hub issues none.",
    ),
)
"""Answered with this error: any 4xx makes the SDK go on without the feature."""


def answering(body: Mapping[str, object]) -> Handler:
    """A handler that takes whatever is sent, within the size limit, and always says `body`."""

    async def handle(visitor: Visitor) -> Reply:
        if "app_user_id" in visitor.call.parameters:
            visitor.app_user_id()
        await visitor.call.body()
        return Reply(200, body)

    return handle


def refusing(status: int, code: Code, message: str) -> Handler:
    """A handler that always refuses."""

    async def handle(visitor: Visitor) -> Reply:
        await visitor.call.body()
        raise WireError(status, code, message)

    return handle
