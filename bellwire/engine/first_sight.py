"""A chain seen for the first time: live, or history of which only the latest event goes out (spec: stores 11.7)."""

from msgspec.structs import replace

from bellwire.engine import emission as emit
from bellwire.engine.access import access_until_ms, has_access
from bellwire.engine.emission import Context, Detection, Emission
from bellwire.engine.reasons import cancel_reason, expiration_reason
from bellwire.model.enums import CancelReason, Environment, EventType, Origin, PriceConsent
from bellwire.model.facts import Snapshot
from bellwire.model.projects import DAY_MS
from bellwire.model.purchases import Chain

ONE_TIME_WINDOW_MS = 30 * DAY_MS
"""One-time purchases older than this are history without any event (spec: events 7.5)."""


def first_sight(after: Chain, snapshot: Snapshot, context: Context) -> Detection:
    """Events of a chain nobody told us of before. `after` is the merged chain; a pending purchase has none."""
    if not after.periods:
        return Detection(after=after)
    if _is_live(after, context):
        return _live(after, snapshot)
    return _historical(after, snapshot, context)


def _is_live(chain: Chain, context: Context) -> bool:
    if context.origin is Origin.IMPORT or len(chain.periods) != 1 or chain.superseded:
        return False
    recent = chain.periods[0].purchased_at_ms >= context.now_ms - context.settings.live_window_ms
    return recent and (chain.environment is Environment.SANDBOX or has_access(chain, chain.as_of_ms))


def _live(after: Chain, snapshot: Snapshot) -> Detection:
    """R1: the purchase; the cancellation only where the store tells a time for it; and what else is so already."""
    period = after.periods[0]
    found = [emit.purchase(after, period)]
    cancelled = snapshot.cancelled_at_ms
    if after.billing_issue_at_ms is not None:
        after = _failed_payment(after, found)
    elif after.auto_renew is False and isinstance(cancelled, int) and cancelled > period.purchased_at_ms:
        reason = cancel_reason(after, snapshot)
        found.append(emit.cancellation(after, period, reason, cancelled))
        after = replace(after, cancel_reason=reason, cancelled_in_period=True)
    after = _announced(after, found)
    if after.price_consent is PriceConsent.PENDING:
        key = str(after.next_price_at_ms)
        found.append(emit.simple(EventType.PRICE_INCREASE_CONSENT_REQUIRED, after, period, key, after.as_of_ms))
    if period.refunded_at_ms is not None:
        found.append(emit.refund(after, period))
    if after.is_subscription and not has_access(after, _evaluated_at(after)):
        ended_ms = min(_evaluated_at(after), access_until_ms(after) or after.as_of_ms)
        found.append(emit.expiration(after, period, expiration_reason(after, period), ended_ms))
        after = replace(after, expired_event_for_period=period.period_key)
    return Detection(after=after, emissions=tuple(found))


def _historical(after: Chain, snapshot: Snapshot, context: Context) -> Detection:
    periods = tuple(replace(period, historical=True) for period in after.periods)
    after = replace(after, periods=periods, takeover_told=after.superseded)
    after, implied = _implied(after, snapshot)
    chosen = _latest_of(implied, context, after)
    return Detection(
        after=after,
        emissions=tuple(replace(item, dispatch=item is chosen, historical=True) for item in implied),
    )


def _latest_of(implied: list[Emission], context: Context, chain: Chain) -> Emission | None:
    """The one event that goes out: the one with the greatest time, ties by weight; none for imports and old one-timers."""
    if context.origin is Origin.IMPORT or chain.superseded or not implied:
        return None
    newest = max(implied, key=lambda item: (item.store_time_ms, _weight(item)))
    if not chain.is_subscription and newest.store_time_ms < context.now_ms - ONE_TIME_WINDOW_MS:
        return None
    return newest


def _weight(item: Emission) -> int:
    """EX > refund-CA > CA > BI > PC > RN > IP."""
    if item.type is EventType.CANCELLATION:
        return 5 if item.price_micros != 0 else 4
    order = {
        EventType.EXPIRATION: 6,
        EventType.BILLING_ISSUE: 3,
        EventType.PRODUCT_CHANGE: 2,
        EventType.RENEWAL: 1,
    }
    return order.get(item.type, 0)


def _implied(after: Chain, snapshot: Snapshot) -> tuple[Chain, list[Emission]]:
    """Every event that the history implies, each with the store's time of it."""
    found: list[Emission] = []
    for index, period in enumerate(after.periods):
        if index and after.periods[index - 1].product_key != period.product_key:
            old = after.periods[index - 1]
            found.append(emit.product_change(after, old, period.product_key, 1, period.purchased_at_ms))
        found.append(emit.purchase(after, period))
        following = after.periods[index + 1] if index + 1 < len(after.periods) else None
        refunded = period.refunded_at_ms
        if refunded is not None and (following is None or following.purchased_at_ms > refunded):
            found.append(emit.refund(after, period))
    latest = after.periods[-1]
    if not after.is_subscription:
        return after, found
    if after.billing_issue_at_ms is not None:
        after = _failed_payment(after, found)
    elif after.auto_renew is False and latest.refunded_at_ms is None:
        at_ms = _not_after_end(after, after.unsubscribe_detected_at_ms or after.as_of_ms)
        reason = cancel_reason(after, snapshot)
        found.append(emit.cancellation(after, latest, reason, at_ms))
        after = replace(after, cancel_reason=reason, cancelled_in_period=True)
    after = _announced(after, found)
    until = access_until_ms(after)
    if not after.superseded and until is not None and until <= _evaluated_at(after):
        found.append(emit.expiration(after, latest, expiration_reason(after, latest), until))
        after = replace(after, expired_event_for_period=latest.period_key)
    return after, found


def _failed_payment(after: Chain, found: list[Emission]) -> Chain:
    period = after.periods[-1]
    since = _not_after_end(after, after.as_of_ms if after.billing_issue_at_ms is None else after.billing_issue_at_ms)
    found.append(emit.billing_issue(after, period, since))
    found.append(emit.cancellation(after, period, CancelReason.BILLING_ERROR, since))
    return replace(after, cancel_reason=CancelReason.BILLING_ERROR)


def _announced(after: Chain, found: list[Emission]) -> Chain:
    """Another product or a pause to come; a product is of no interest where nothing will renew."""
    period, at_ms = after.periods[-1], _not_after_end(after, after.as_of_ms)
    target = after.auto_renew_product_id
    if target is not None:
        after = replace(after, change_count=1)
        if after.auto_renew is not False:
            found.append(emit.product_change(after, period, target, 1, at_ms))
    if after.paused or after.pause_scheduled:
        found.append(emit.simple(EventType.SUBSCRIPTION_PAUSED, after, period, "0", at_ms))
        after = replace(after, pause_sent=True)
    return after


def _not_after_end(chain: Chain, at_ms: int) -> int:
    """What is known only to have happened by `at_ms` happened while the last period ran."""
    expires = chain.periods[-1].expires_at_ms
    return at_ms if expires is None else min(at_ms, expires)


def _evaluated_at(chain: Chain) -> int:
    """The store time at which access is judged; a refund is a statement of its own."""
    refunded = chain.periods[-1].refunded_at_ms
    return chain.as_of_ms if refunded is None else max(chain.as_of_ms, refunded)
