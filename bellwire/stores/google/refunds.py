"""When money of an order went back, and whether access ended with it (spec: stores 3.5, refund rows)."""

from collections.abc import Mapping

import msgspec

from bellwire.stores.google.money import to_micros
from bellwire.stores.google.times import parse_ms, parse_optional_ms
from bellwire.stores.google.wire import Order, PartialRefundEvent

REVOKED = "12"
PARTIAL_QUANTITY = "2"
JUST_THEN_MS = 60_000


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money that went back. `micros` None = the whole price."""

    at_ms: int
    micros: int | None = None
    revokes: bool = True


def voided_order(hints: Mapping[str, str]) -> str | None:
    """The order that a voided-purchase message names, if the whole of it is void."""
    if hints.get("voided") is None or hints.get("refundType") == PARTIAL_QUANTITY:
        return None
    return hints.get("orderId")


def hinted_ms(hints: Mapping[str, str]) -> int | None:
    """When the store says the thing happened that made us look."""
    text = hints.get("eventTimeMillis")
    return int(text) if text is not None and text.isdigit() else None


def refund_of_current(
    order: Order | None,
    *,
    order_id: str,
    expired: bool,
    expires_at_ms: int | None,
    service_end_ms: int | None,
    hints: Mapping[str, str],
    as_of_ms: int,
    report_without_revoke: bool,
) -> Refund | None:
    """What became of the order that pays for the running period.

    Voided and revoked orders end access. A full refund that leaves the subscription running is told only where the
    app asks for it, as Google's own notifications do not tell it either.
    """
    refunded_ms = _refunded_ms(order)
    noticed_ms = hinted_ms(hints) or as_of_ms
    if voided_order(hints) == order_id:
        return Refund(at_ms=refunded_ms or noticed_ms)
    cut_short = expires_at_ms is not None and service_end_ms is not None and expires_at_ms < service_end_ms
    at_refund = expires_at_ms is not None and refunded_ms is not None and _near(expires_at_ms, refunded_ms)
    revoked = expired and (cut_short or at_refund or hints.get("notificationType") == REVOKED)
    if refunded_ms is not None:
        if revoked:
            return Refund(at_ms=refunded_ms)
        return Refund(at_ms=refunded_ms, revokes=False) if report_without_revoke else None
    partial: tuple[PartialRefundEvent, ...] = ()
    if order is not None and order.order_history is not None:
        partial = order.order_history.partial_refund_events
    if revoked and order is not None and partial:
        return Refund(at_ms=max(_partial_ms(event, noticed_ms) for event in partial), micros=_sum(order, partial))
    if expired and hints.get("notificationType") == REVOKED:
        return Refund(at_ms=expires_at_ms or noticed_ms)
    return None


def refund_of_past(order: Order | None, *, order_id: str, hints: Mapping[str, str], as_of_ms: int) -> Refund | None:
    """What became of an order that a later one has followed: charts want to know, no access hangs on it."""
    refunded_ms = _refunded_ms(order)
    if refunded_ms is not None:
        return Refund(at_ms=refunded_ms)
    if voided_order(hints) == order_id:
        return Refund(at_ms=hinted_ms(hints) or as_of_ms)
    return None


def _refunded_ms(order: Order | None) -> int | None:
    """When the order was refunded in full."""
    if order is None or order.state != "REFUNDED" or order.order_history is None:
        return None
    event = order.order_history.refund_event
    return None if event is None else parse_optional_ms(event.event_time)


def _near(one_ms: int, other_ms: int) -> bool:
    return abs(one_ms - other_ms) <= JUST_THEN_MS


def _partial_ms(event: PartialRefundEvent, fallback_ms: int) -> int:
    text = event.process_time or event.create_time
    return fallback_ms if text is None else parse_ms(text)


def _sum(order: Order, events: tuple[PartialRefundEvent, ...]) -> int:
    """All that went back, in terms of the order's gross: without tax where the gross is without."""
    exclusive = order.order_details is not None and not order.order_details.tax_inclusive
    total = 0
    for event in events:
        details = event.refund_details
        if details is not None and details.total is not None:
            total += to_micros(details.total)
            if exclusive and details.tax is not None:
                total -= to_micros(details.tax)
    return total
