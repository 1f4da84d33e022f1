"""Logging in: POST /v1/subscribers/identify and the older .../alias (spec: api 1.7, events 8.4)."""

import msgspec

from bellwire.engine.identity import check_app_user_id
from bellwire.kit.endpoints import Reply
from bellwire.web.sdk.door import Visitor


class _IdentifyBody(msgspec.Struct, frozen=True):
    app_user_id: str
    new_app_user_id: str


class _AliasBody(msgspec.Struct, frozen=True):
    new_app_user_id: str


async def post_identify(visitor: Visitor) -> Reply:
    """The customer of the new id; 201 when nobody was known by it before."""
    body = await visitor.call.json(_IdentifyBody)
    check_app_user_id(body.app_user_id)
    check_app_user_id(body.new_app_user_id)
    view = await visitor.services.ingest.identify(
        visitor.project_id, body.app_user_id, body.new_app_user_id, visitor.visit()
    )
    return Reply(201 if view.created else 200, visitor.info(view))


async def post_alias(visitor: Visitor) -> Reply:
    """The same under its old name, from the id in the path; the answer is empty."""
    app_user_id = visitor.app_user_id()
    body = await visitor.call.json(_AliasBody)
    check_app_user_id(body.new_app_user_id)
    await visitor.services.ingest.identify(visitor.project_id, app_user_id, body.new_app_user_id, visitor.visit())
    return Reply(200, {})
