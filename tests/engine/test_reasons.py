"""Why renewal is off and why access ended: first match of the list below stores 11.6."""

import pytest
from msgspec.structs import replace

from bellwire.engine.reasons import cancel_reason, expiration_reason
from bellwire.model.enums import (
    CancelReason,
    Environment,
    ExpirationReason,
    PeriodType,
    PriceConsent,
    ProductType,
    Store,
)
from bellwire.model.facts import Snapshot
from bellwire.model.purchases import Chain, Period

PERIOD = Period(
    period_key="P1",
    ordinal=1,
    product_id="pro",
    plan_id=None,
    period_type=PeriodType.NORMAL,
    purchased_at_ms=1,
    expires_at_ms=2,
    price_micros=1,
    currency="USD",
    price_usd_micros=1,
)
REFUNDED = replace(PERIOD, refunded_at_ms=2)
CHAIN = Chain(
    id=1,
    project_id="p",
    app_id="a",
    store=Store.APP_STORE,
    environment=Environment.PRODUCTION,
    store_key="k",
    first_store_key="k",
    original_transaction_id="k",
    customer_id=1,
    product_type=ProductType.SUBSCRIPTION,
    periods=(PERIOD,),
)
SNAPSHOT = Snapshot(
    store=Store.APP_STORE,
    environment=Environment.PRODUCTION,
    store_key="k",
    original_transaction_id="k",
    product_type=ProductType.SUBSCRIPTION,
    as_of_ms=1,
    periods=(),
)
ENDS = ExpirationReason
OFF = CancelReason


@pytest.mark.parametrize(
    ("chain", "period", "reason"),
    [
        (replace(CHAIN, paused=True, billing_issue_at_ms=1), REFUNDED, ENDS.SUBSCRIPTION_PAUSED),
        (replace(CHAIN, billing_issue_at_ms=1), REFUNDED, ENDS.CUSTOMER_SUPPORT),
        (CHAIN, replace(REFUNDED, family_revoked=True), ENDS.UNKNOWN),
        (replace(CHAIN, cancel_reason=OFF.UNSUBSCRIBE), replace(REFUNDED, refund_revokes=False), ENDS.UNSUBSCRIBE),
        (replace(CHAIN, cancel_reason=OFF.PRICE_INCREASE, billing_issue_at_ms=1), PERIOD, ENDS.PRICE_INCREASE),
        (replace(CHAIN, cancel_reason=OFF.DEVELOPER_INITIATED, billing_issue_at_ms=1), PERIOD, ENDS.BILLING_ERROR),
        (replace(CHAIN, cancel_reason=OFF.BILLING_ERROR), PERIOD, ENDS.BILLING_ERROR),
        (replace(CHAIN, cancel_reason=OFF.DEVELOPER_INITIATED), PERIOD, ENDS.DEVELOPER_INITIATED),
        (replace(CHAIN, cancel_reason=OFF.UNSUBSCRIBE, expiration_hint=ENDS.UNKNOWN), PERIOD, ENDS.UNSUBSCRIBE),
        (replace(CHAIN, expiration_hint=ENDS.DEVELOPER_INITIATED), PERIOD, ENDS.DEVELOPER_INITIATED),
        (replace(CHAIN, expiration_hint=ENDS.UNKNOWN), PERIOD, ENDS.UNKNOWN),
        (replace(CHAIN, auto_renew=False), PERIOD, ENDS.UNSUBSCRIBE),
        (CHAIN, PERIOD, ENDS.UNSUBSCRIBE),
    ],
)
def test_expiration_reason(chain: Chain, period: Period, reason: ExpirationReason) -> None:
    assert expiration_reason(chain, period) is reason


@pytest.mark.parametrize(
    ("consent", "told", "reason"),
    [
        (PriceConsent.NONE, None, OFF.UNSUBSCRIBE),
        (PriceConsent.ACCEPTED, None, OFF.UNSUBSCRIBE),
        (PriceConsent.PENDING, None, OFF.PRICE_INCREASE),
        (PriceConsent.PENDING, OFF.DEVELOPER_INITIATED, OFF.DEVELOPER_INITIATED),
        (PriceConsent.NONE, OFF.UNKNOWN, OFF.UNKNOWN),
    ],
)
def test_cancel_reason(consent: PriceConsent, told: CancelReason | None, reason: CancelReason) -> None:
    snapshot = SNAPSHOT if told is None else replace(SNAPSHOT, cancel_reason=told)
    assert cancel_reason(replace(CHAIN, price_consent=consent), snapshot) is reason
