"""The TEST event of the button (spec: events 10.2): shaped like a purchase, about nobody."""

import uuid

from msgspec.structs import replace

from bellwire.model.enums import Environment, EventType, PeriodType, Store
from bellwire.model.events import Event

_DAY_MS = 86_400_000


def sample_event(*, app_id: str | None, now_ms: int) -> Event:
    """A fresh one each time. No money: a receiver that adds prices up is not led astray."""
    app_user_id = str(uuid.uuid4())
    transaction_id = str(uuid.uuid4().int % 10**16)
    event = Event(
        type=EventType.TEST,
        id=str(uuid.uuid4()).upper(),
        event_timestamp_ms=now_ms,
        app_user_id=app_user_id,
        original_app_user_id=app_user_id,
        aliases=[app_user_id],
        subscriber_attributes={},
        product_id="test_product",
        period_type=PeriodType.NORMAL,
        purchased_at_ms=now_ms,
        expiration_at_ms=now_ms + 30 * _DAY_MS,
        environment=Environment.SANDBOX,
        store=Store.APP_STORE,
        entitlement_ids=None,
        entitlement_id=None,
        presented_offering_id=None,
        transaction_id=transaction_id,
        original_transaction_id=transaction_id,
        is_family_share=False,
        country_code="US",
        currency="USD",
        price=0.0,
        price_in_purchased_currency=0.0,
        tax_percentage=0.0,
        commission_percentage=0.0,
        takehome_percentage=1.0,
        offer_code=None,
        renewal_number=1,
        metadata=None,
    )
    return event if app_id is None else replace(event, app_id=app_id)
