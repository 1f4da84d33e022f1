"""Orders: how their ids count renewals, and what period each of them paid for (spec: stores 3.4, 3.6)."""

import re

import msgspec

from bellwire.model.enums import PeriodType
from bellwire.model.facts import PeriodFact
from bellwire.stores.google.money import commission_ppm, gross_micros, tax_ppm
from bellwire.stores.google.times import parse_ms
from bellwire.stores.google.wire import Order, OrderLineItem, SubscriptionDetails

_RENEWAL = re.compile(r"^(?P<base>.+?)\.\.(?P<index>\d{1,4})$")
_PHASES = {"FREE_TRIAL": PeriodType.TRIAL, "INTRODUCTORY": PeriodType.INTRO}
PAID_STATES = frozenset({"PROCESSED", "PENDING_REFUND", "PARTIALLY_REFUNDED", "REFUNDED"})
"""States of orders that took effect; PENDING and CANCELED ones never paid for a period."""


class OrderId(msgspec.Struct, frozen=True):
    """`GPA.1-2-3` is the first order of a purchase, `GPA.1-2-3..0` its first renewal. The format is not promised."""

    base: str
    ordinal: int
    """1 for the first order."""

    @classmethod
    def parse(cls, text: str) -> "OrderId":
        match = _RENEWAL.match(text)
        return cls(text, 1) if match is None else cls(match["base"], int(match["index"]) + 2)

    def __str__(self) -> str:
        return self.base if self.ordinal == 1 else f"{self.base}..{self.ordinal - 2}"


def phase_type(original_phase: str) -> PeriodType:
    """Period type of a phase name; BASE and unknown ones are NORMAL."""
    return _PHASES.get(original_phase, PeriodType.NORMAL)


def offer_type(period_type: PeriodType) -> str | None:
    """Offer type of a period, as charts filter on it."""
    return {PeriodType.TRIAL: "free_trial", PeriodType.INTRO: "introductory"}.get(period_type)


def service_period(order: Order, product_id: str) -> SubscriptionDetails | None:
    """What the order says of the subscription item `product_id` (or of its first item)."""
    line = _line(order, product_id)
    return None if line is None else line.subscription_details


def period_of_order(order: Order, *, country: str | None) -> PeriodFact | None:
    """The period that a past order paid for, from the order alone; None when it tells too little."""
    line = _line(order, "")
    details = None if line is None else line.subscription_details
    if line is None or details is None or order.state not in PAID_STATES:
        return None
    if details.service_period_start_time is None or details.service_period_end_time is None:
        return None
    period_type = _order_phase(details)
    return with_money(
        PeriodFact(
            period_key=order.order_id,
            product_id=line.product_id,
            plan_id=details.base_plan_id,
            ordinal=OrderId.parse(order.order_id).ordinal,
            period_type=period_type,
            purchased_at_ms=parse_ms(details.service_period_start_time),
            expires_at_ms=parse_ms(details.service_period_end_time),
            country=country,
            offer_type=offer_type(period_type),
        ),
        order,
    )


def with_money(fact: PeriodFact, order: Order) -> PeriodFact:
    """`fact` with the order's exact amounts."""
    return msgspec.structs.replace(
        fact,
        price_micros=gross_micros(order),
        currency=None if order.total is None else order.total.currency_code or None,
        tax_ppm=tax_ppm(order),
        commission_ppm=commission_ppm(order),
    )


def _line(order: Order, product_id: str) -> OrderLineItem | None:
    lines = [line for line in order.line_items if line.subscription_details is not None]
    return next((line for line in lines if line.product_id == product_id), lines[0] if lines else None)


def _order_phase(details: SubscriptionDetails) -> PeriodType:
    phase = details.offer_phase_details
    if phase is None:
        return phase_type(details.offer_phase)
    if phase.free_trial_details is not None:
        return PeriodType.TRIAL
    if phase.introductory_price_details is not None:
        return PeriodType.INTRO
    if phase.proration_period_details is not None:
        return phase_type(phase.proration_period_details.original_offer_phase)
    return PeriodType.NORMAL
