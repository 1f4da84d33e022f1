"""GET /v1/subscribers/{app_user_id}: get or create a customer (spec: api 1.6, 3.1)."""

from bellwire.kit.endpoints import Reply
from bellwire.web.sdk.door import Visitor
from bellwire.web.sdk.etags import tagged


async def get_subscriber(visitor: Visitor) -> Reply:
    """201 when this request created the customer, else 200."""
    view = await visitor.services.ingest.get_customer(visitor.project_id, visitor.app_user_id(), visitor.visit())
    return tagged(visitor, visitor.info(view), status=201 if view.created else 200)
