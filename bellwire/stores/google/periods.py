"""The periods of a subscription purchase: the running one, missed and past ones (spec: stores 3.4, 3.6)."""

import msgspec

from bellwire.model.enums import PeriodType, PriceConsent
from bellwire.model.facts import PeriodFact
from bellwire.model.purchases import Period
from bellwire.stores.google.bundles import first_charge, with_items, with_ordered_items
from bellwire.stores.google.items import current_items, expiry_ms, item_period_type, list_price, plan_of
from bellwire.stores.google.orders import (
    PAID_STATES,
    OrderId,
    offer_type,
    period_of_order,
    service_period,
    with_money,
)
from bellwire.stores.google.reading import EXPIRED, Reading
from bellwire.stores.google.refunds import Refund, refund_of_current, refund_of_past, voided_order
from bellwire.stores.google.times import parse_optional_ms, subtract_duration
from bellwire.stores.google.wire import LineItem, Order

CANCELED = "SUBSCRIPTION_STATE_CANCELED"
IN_GRACE = "SUBSCRIPTION_STATE_IN_GRACE_PERIOD"
ON_HOLD = "SUBSCRIPTION_STATE_ON_HOLD"


def consent(item: LineItem) -> PriceConsent:
    """Where the customer stands with a price increase that needs consent."""
    plan = item.auto_renewing_plan
    if plan is None:
        return PriceConsent.NONE
    change, step_up = plan.price_change_details, plan.price_step_up_consent_details
    states = [step_up.state] if step_up is not None else []
    if change is not None and change.price_change_mode == "PRICE_INCREASE":
        states.append(change.price_change_state)
    if "OUTSTANDING" in states or "PENDING" in states:
        return PriceConsent.PENDING
    return PriceConsent.ACCEPTED if "CONFIRMED" in states else PriceConsent.NONE


def cancelled_by_price(reading: Reading, item: LineItem) -> bool:
    """Google ended the subscription since a price increase was not agreed to, not since a charge failed."""
    known = reading.known
    if known is not None and known.billing_issue_at_ms is not None:
        return False
    return consent(item) is PriceConsent.PENDING or (known is not None and known.price_consent is PriceConsent.PENDING)


def paid_until_ms(reading: Reading, item: LineItem, order: Order | None) -> int | None:
    """End of the term that was paid for.

    `expiryTime` is it, except in trouble with a payment, where Google moves it along with the grace period: there the
    stored end counts, else what the order says.
    """
    expires = expiry_ms(item)
    order_id = item.latest_successful_order_id or ""
    stored = reading.known_period(order_id)
    stored_ms = None if stored is None else stored.expires_at_ms
    details = None if order is None else service_period(order, item.product_id)
    service_ms = None if details is None else parse_optional_ms(details.service_period_end_time)
    paid_ms = stored_ms if stored_ms is not None else service_ms
    if expires is None or paid_ms is None:
        return expires
    state = reading.purchase.subscription_state
    if state in (IN_GRACE, ON_HOLD):
        return paid_ms
    if state in (CANCELED, EXPIRED) and (_unpaid(reading, stored) or _failed_charge(reading, item)):
        return min(expires, paid_ms)
    return expires


def in_trouble(reading: Reading, item: LineItem) -> bool:
    """Whether a later expiry is only Google waiting for its money."""
    stored = reading.known_period(item.latest_successful_order_id or "")
    return reading.purchase.subscription_state in (IN_GRACE, ON_HOLD) or _unpaid(reading, stored)


def _unpaid(reading: Reading, stored: Period | None) -> bool:
    """Whether the hub knows of a failed charge for this very period."""
    known = reading.known
    return stored is not None and known is not None and known.billing_issue_at_ms is not None


def _failed_charge(reading: Reading, item: LineItem) -> bool:
    context = reading.purchase.canceled_state_context
    system = context is not None and context.system_initiated_cancellation is not None
    return system and not cancelled_by_price(reading, item)


def running_period(reading: Reading, item: LineItem) -> PeriodFact:
    """The period that the newest order pays for."""
    order_id = item.latest_successful_order_id or reading.token
    order = reading.orders.get(order_id)
    period_type = item_period_type(item)
    expires = paid_until_ms(reading, item, order)
    first = OrderId.parse(order_id).ordinal == 1
    code = _promotion(item) if first else None
    fact = PeriodFact(
        period_key=order_id,
        product_id=item.product_id,
        plan_id=plan_of(item),
        ordinal=_ordinal(reading, order_id),
        period_type=period_type,
        purchased_at_ms=_start_ms(reading, item, order, expires),
        expires_at_ms=expires,
        country=reading.purchase.region_code,
        offer_code=code,
        offer_type="offer_code" if first and item.signup_promotion is not None else offer_type(period_type),
    )
    fact = _fallback_price(reading, fact) if order is None or order.total is None else with_money(fact, order)
    fact = with_items(fact, current_items(reading.purchase), item, order, reading.known_period(order_id))
    details = None if order is None else service_period(order, item.product_id)
    refund = refund_of_current(
        order,
        order_id=order_id,
        expired=reading.purchase.subscription_state == EXPIRED,
        expires_at_ms=expiry_ms(item),
        service_end_ms=None if details is None else parse_optional_ms(details.service_period_end_time),
        hints=reading.hints,
        as_of_ms=reading.as_of_ms,
        report_without_revoke=reading.report_refunds_without_revoke,
    )
    return _refunded(fact, refund)


def past_periods(reading: Reading, current_key: str) -> list[PeriodFact]:
    """Periods before the running one that were missed or that a message is about."""
    voided = voided_order(reading.hints)
    keys = [key for key in reading.orders if key != current_key]
    if voided is not None and voided != current_key and voided not in keys:
        keys.append(voided)
    facts: list[PeriodFact] = []
    for key in keys:
        order, stored = reading.orders.get(key), reading.known_period(key)
        fact = None if stored is None else _restated(stored)
        if fact is None and order is not None:
            fact = period_of_order(order, country=reading.purchase.region_code)
            fact = None if fact is None else with_ordered_items(fact, order)
        if fact is not None:
            refund = refund_of_past(order, order_id=key, hints=reading.hints, as_of_ms=reading.as_of_ms)
            facts.append(_refunded(fact, refund))
    return facts


def whole_history(reading: Reading, current_key: str) -> bool:
    """Whether every order from the first one on was read."""
    current = OrderId.parse(current_key)
    earlier = (str(OrderId(current.base, ordinal)) for ordinal in range(1, current.ordinal))
    return reading.known is None and all(
        key in reading.orders and reading.orders[key].state in (*PAID_STATES, "CANCELED") for key in earlier
    )


def _start_ms(reading: Reading, item: LineItem, order: Order | None, expires_ms: int | None) -> int:
    """When the running period began, from the best source there is (spec: stores 3.4)."""
    order_id = item.latest_successful_order_id or ""
    started = parse_optional_ms(reading.purchase.start_time)
    details = None if order is None else service_period(order, item.product_id)
    if details is not None and details.service_period_start_time is not None:
        return parse_optional_ms(details.service_period_start_time) or 0
    stored = reading.known_period(order_id)
    if stored is not None:
        return stored.purchased_at_ms
    if started is None:
        return reading.as_of_ms
    if OrderId.parse(order_id).ordinal == 1:
        return started
    known = reading.known
    if known is not None and known.latest is not None:
        recovered = known.billing_retry or known.paused or known.ended
        previous_end = known.latest.expires_at_ms
        return reading.as_of_ms if recovered or previous_end is None else max(started, previous_end)
    duration = reading.plan_duration
    computed = None if duration is None or expires_ms is None else subtract_duration(expires_ms, duration)
    return started if computed is None else max(started, computed)


def _ordinal(reading: Reading, order_id: str) -> int | None:
    """Number of the period as the order id tells it; None where the chain began under another purchase's orders."""
    parsed = OrderId.parse(order_id)
    known = reading.known
    if known is not None and known.periods and known.original_transaction_id != parsed.base:
        return None
    return parsed.ordinal


def _promotion(item: LineItem) -> str | None:
    promotion = item.signup_promotion
    return None if promotion is None or promotion.vanity_code is None else promotion.vanity_code.promotion_code


def _fallback_price(reading: Reading, fact: PeriodFact) -> PeriodFact:
    """Without the order: nothing for what is tried, what the app said it cost at first, then the list price."""
    items = current_items(reading.purchase)
    listed = list_price(items)
    posted = reading.posted
    if fact.period_type is PeriodType.TRIAL:
        price, currency = first_charge(items)
        return msgspec.structs.replace(fact, price_micros=price, currency=currency)
    if posted is not None and posted.price_micros is not None and OrderId.parse(fact.period_key).ordinal == 1:
        return msgspec.structs.replace(fact, price_micros=posted.price_micros, currency=posted.currency)
    if fact.period_type is PeriodType.NORMAL and listed is not None:
        return msgspec.structs.replace(fact, price_micros=listed[0], currency=listed[1])
    return fact


def _refunded(fact: PeriodFact, refund: Refund | None) -> PeriodFact:
    if refund is None:
        return fact
    return msgspec.structs.replace(
        fact, refunded_at_ms=refund.at_ms, refund_micros=refund.micros, refund_revokes=refund.revokes
    )


def _restated(stored: Period) -> PeriodFact:
    """A stored period as a fact, so that something can be added to it."""
    return PeriodFact(
        period_key=stored.period_key,
        product_id=stored.product_id,
        plan_id=stored.plan_id,
        period_type=stored.period_type,
        purchased_at_ms=stored.purchased_at_ms,
        expires_at_ms=stored.expires_at_ms,
        price_micros=stored.price_micros,
        currency=stored.currency,
        tax_ppm=stored.tax_ppm,
        commission_ppm=stored.commission_ppm,
        country=stored.country,
        offer_code=stored.offer_code,
        offer_type=stored.offer_type,
        quantity=stored.quantity,
        items=stored.items,
    )
