"""The SDKs' own cache validators: `X-RevenueCat-ETag` both ways, 304 with an empty body (spec: api 1.3)."""

import hashlib

import msgspec
from msgspec.structs import replace

from bellwire.kit.endpoints import Reply
from bellwire.model.customer_info import CustomerInfo
from bellwire.web.sdk.door import Visitor

HEADER = "X-RevenueCat-ETag"


def tagged(visitor: Visitor, body: object, *, status: int = 200) -> Reply:
    """Answer a GET with its tag, or with 304 when the client holds the same already.

    A client that sends no such header gets no tag: it would not use it.
    """
    asked = visitor.call.headers.get(HEADER)
    if asked is None:
        return Reply(status, body)
    tag = _tag(body)
    if status == 200 and asked.strip() == tag:
        return Reply(304, headers={HEADER: tag})
    return Reply(status, body, {HEADER: tag})


def _tag(body: object) -> str:
    return hashlib.blake2b(msgspec.json.encode(_lasting(body)), digest_size=16).hexdigest()


def _lasting(body: object) -> object:
    """The body without what changes on every request although nothing happened."""
    if not isinstance(body, CustomerInfo):
        return body
    return replace(body, request_date="", request_date_ms=0, subscriber=replace(body.subscriber, last_seen=""))
