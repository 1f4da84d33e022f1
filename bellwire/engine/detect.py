"""Change detection of a known chain: rules R1-R17 of stores 11.6, one small function a rule. Pure.

The question every rule asks is what differs between `before` and `after`; the answer does not depend on how the store
told us, so that repeats find nothing and any order of the same facts ends alike.
"""

from collections.abc import Iterator

from msgspec import UNSET
from msgspec.structs import replace

from bellwire.engine import emission as emit
from bellwire.engine.access import access_until_ms, chain_state, has_access
from bellwire.engine.emission import Context, Detection, Emission
from bellwire.engine.first_sight import first_sight
from bellwire.engine.merge import carries_on, merge
from bellwire.engine.reasons import cancel_reason, expiration_reason
from bellwire.model.enums import (
    CancelReason,
    ChainState,
    EventType,
    PriceConsent,
)
from bellwire.model.facts import Snapshot
from bellwire.model.purchases import Chain, Period

_EXTENSION_MS = 60_000


def detect(before: Chain, snapshot: Snapshot, context: Context) -> Detection:
    """Fold `snapshot` into `before` and say what changed. A chain without periods yet is seen for the first time."""
    after = merge(before, snapshot, context)
    if before.latest is None:
        return first_sight(after, snapshot, context)
    if after == before:
        return Detection(after=after)
    found: list[Emission] = []
    after = _new_periods(before, after, context, found)
    after = _extension(before, after, snapshot, found)
    after = _billing_issue(before, after, found)
    after = _renewal_switch(before, after, snapshot, found)
    after = _pending_change(before, after, found)
    after = _added_items(before, after, found)
    _refunds(before, after, found)
    _missed_refunds(before, after, snapshot, found)
    after = _pause(before, after, found)
    _consent(before, after, found)
    after = access_changes(after, found)
    return Detection(after=after, emissions=tuple(found))


def evaluate(chain: Chain, at_ms: int) -> Detection:
    """Let stored dates take effect at `at_ms` without a new statement: for a store that cannot be asked (stores 1.5)."""
    found: list[Emission] = []
    after = access_changes(replace(chain, as_of_ms=max(chain.as_of_ms, at_ms)), found)
    return Detection(after=after, emissions=tuple(found))


def _turned(before: Chain, after: Chain) -> bool:
    return _latest(before).period_key != _latest(after).period_key


def _latest(chain: Chain) -> Period:
    if chain.latest is None:
        raise ValueError(f"chain {chain.id} has no period")
    return chain.latest


def _new_periods(before: Chain, after: Chain, context: Context, found: list[Emission]) -> Chain:
    """R3, R4, R5. Renewals missed within the backfill window are sent, older ones kept; the newest always is sent.

    R5 goes further than the specification's 'none': a period that arrives after a later one is sent too when it lies
    within the window, since otherwise revenue would hang on the order in which messages arrive.
    """
    known = {period.period_key: period for period in before.periods}
    if len(known) == len(after.periods):
        return after
    earliest = before.periods[0].purchased_at_ms
    cutoff = context.now_ms - context.settings.backfill_window_ms
    periods: list[Period] = []
    previous: Period | None = None
    for period in after.periods:
        if period.period_key not in known:
            newest = period.period_key == _latest(after).period_key
            sent = newest or (period.purchased_at_ms >= cutoff and period.purchased_at_ms > earliest)
            period = replace(period, historical=not sent)
            if newest and previous is not None and previous.product_key != period.product_key:
                left = known.get(previous.period_key, previous)  # a change cuts its end: the event tells the paid one
                found += _unannounced_change(before, after, left, period)
            found.append(replace(emit.purchase(after, period), dispatch=sent, historical=not sent))
        periods.append(period)
        previous = period
    return replace(after, periods=tuple(periods))


def _unannounced_change(before: Chain, after: Chain, old: Period, new: Period) -> Iterator[Emission]:
    if before.auto_renew_product_id != new.product_key:
        count, at_ms = before.change_count + 1, new.purchased_at_ms
        yield emit.product_change(after, old, new.product_key, count, at_ms, new.items)


def _extension(before: Chain, after: Chain, snapshot: Snapshot, found: list[Emission]) -> Chain:
    """R6: the end of the running period moved later, and not because a failed payment bought time."""
    old, new = _latest(before), _latest(after)
    if old.period_key != new.period_key or old.expires_at_ms is None or new.expires_at_ms is None:
        return after
    if new.expires_at_ms < old.expires_at_ms + _EXTENSION_MS or snapshot.price_postponed:
        return after
    stuck = chain_state(before, before.as_of_ms) in (ChainState.GRACE, ChainState.RETRY, ChainState.PAUSED)
    if stuck or after.billing_issue_at_ms is not None or before.expired_event_for_period == old.period_key:
        return after
    found.append(emit.simple(EventType.SUBSCRIPTION_EXTENDED, after, new, str(new.expires_at_ms), snapshot.as_of_ms))
    return after


def _billing_issue(before: Chain, after: Chain, found: list[Emission]) -> Chain:
    """R7: BILLING_ISSUE and CANCELLATION(BILLING_ERROR), once per outage."""
    since = after.billing_issue_at_ms
    if since is None:
        return after
    turned = _turned(before, after)
    if before.billing_issue_at_ms is not None and not turned:
        return after
    period = _latest(after)
    found.append(emit.billing_issue(after, period, since))
    already = before.cancelled_in_period and not turned
    if not already:
        found.append(emit.cancellation(after, period, CancelReason.BILLING_ERROR, since))
    return replace(after, cancel_reason=CancelReason.BILLING_ERROR)


def _renewal_switch(before: Chain, after: Chain, snapshot: Snapshot, found: list[Emission]) -> Chain:
    """R8 and R9: renewal switched off or on by somebody, not by a failed payment or a refund."""
    if after.auto_renew is None or (after.auto_renew and before.auto_renew is not False):
        return after
    turned = _turned(before, after)
    period = _latest(after)
    was = before.auto_renew if not turned or carries_on(before, period) else None
    over = after.expired_event_for_period == period.period_key
    refunded_now = period.refunded_at_ms is not None and (turned or _latest(before).refunded_at_ms is None)
    if after.auto_renew is False and was is not False:
        quiet = after.billing_issue_at_ms is not None or refunded_now or over or after.superseded or after.paused
        if quiet:
            return after
        reason = cancel_reason(after, snapshot)
        at_ms = after.unsubscribe_detected_at_ms or snapshot.as_of_ms
        found.append(emit.cancellation(after, period, reason, at_ms))
        return replace(after, cancel_reason=reason, cancelled_in_period=True)
    if after.auto_renew is True and was is False:
        silent = turned or before.billing_issue_at_ms is not None or not has_access(after, after.as_of_ms)
        if not silent:
            found.append(
                emit.simple(EventType.UNCANCELLATION, after, period, str(after.toggle_count), snapshot.as_of_ms)
            )
        keep = after.billing_issue_at_ms is not None
        reason = after.cancel_reason if keep else None
        return replace(after, cancel_reason=reason, cancelled_in_period=False)
    return after


def _pending_change(before: Chain, after: Chain, found: list[Emission]) -> Chain:
    """R10: another product at the next renewal, or back to the current one."""
    if after.auto_renew_product_id == before.auto_renew_product_id:
        return after
    if after.auto_renew_product_id is None and _turned(before, after):
        return after  # it took effect
    period = _latest(after)
    target = after.auto_renew_product_id or period.product_key
    after = replace(after, change_count=after.change_count + 1)
    found.append(emit.product_change(after, period, target, after.change_count, after.as_of_ms))
    return after


def _added_items(before: Chain, after: Chain, found: list[Emission]) -> Chain:
    """Add-ons that joined a running period under its own key: PRODUCT_CHANGE without a target, listing all items.

    Stores 3.5 wants an INITIAL_PURCHASE too; that comes with the new purchase key under which Google sells an add-on to
    a running subscription. Items that leave make no event, as events 6.6 has it (stores 3.5 has a PRODUCT_CHANGE): the
    next RENEWAL comes without them.
    """
    period = _latest(after)
    if not period.items or _turned(before, after) or set(period.product_keys) <= set(_latest(before).product_keys):
        return after
    after = replace(after, change_count=after.change_count + 1)
    found.append(emit.product_change(after, period, UNSET, after.change_count, after.as_of_ms))
    return after


def _refunds(before: Chain, after: Chain, found: list[Emission]) -> None:
    """R11 and R12, for the period that ran when the money went back; earlier ones only change charts.

    A refund of a period that is history itself, first seen just now, is history too.
    """
    if not _ever_refunded(after):
        return
    known = {period.period_key: period for period in before.periods}
    for index, period in enumerate(after.periods):
        old = known.get(period.period_key)
        was = None if old is None else old.refunded_at_ms
        if period.refunded_at_ms is not None and was is None and _ran_at(after, index, period.refunded_at_ms):
            historical = old is None and period.historical
            found.append(replace(emit.refund(after, period), dispatch=not historical, historical=historical))
        if old is not None and period.refunded_at_ms is None and was is not None and not old.family_revoked:
            if _ran_at(after, index, was):
                found.append(emit.refund_reversed(after, period, old, period.refund_as_of_ms))


def _missed_refunds(before: Chain, after: Chain, snapshot: Snapshot, found: list[Emission]) -> None:
    """R11 and R12 at once: a refund that was heard of only after it had been taken back."""
    if not _ever_refunded(after):
        return
    known = {period.period_key: period for period in before.periods}
    facts = {fact.period_key: fact for fact in snapshot.periods}
    for index, period in enumerate(after.periods):
        old, fact = known.get(period.period_key), facts.get(period.period_key)
        if old is None or fact is None or period.refunded_at_ms is not None or period.refund_count == old.refund_count:
            continue
        at_ms = fact.refunded_at_ms
        if not isinstance(at_ms, int) or fact.family_revoked or not _ran_at(after, index, at_ms):
            continue
        gone = replace(
            period, refunded_at_ms=at_ms, refund_micros=fact.refund_micros, refund_revokes=fact.refund_revokes
        )
        told = (emit.refund(after, gone), emit.refund_reversed(after, period, gone, period.refund_as_of_ms))
        found += (replace(item, dispatch=not period.historical, historical=period.historical) for item in told)


def _ever_refunded(chain: Chain) -> bool:
    return any(period.refund_count for period in chain.periods)


def _ran_at(chain: Chain, index: int, at_ms: int) -> bool:
    return index + 1 == len(chain.periods) or chain.periods[index + 1].purchased_at_ms > at_ms


def _pause(before: Chain, after: Chain, found: list[Emission]) -> Chain:
    """R13: SUBSCRIPTION_PAUSED when a pause is announced, or in effect without having been announced."""
    paused = after.paused or after.pause_scheduled
    if paused and not after.pause_sent:
        found.append(
            emit.simple(EventType.SUBSCRIPTION_PAUSED, after, _latest(after), str(after.pause_count), after.as_of_ms)
        )
        return replace(after, pause_sent=True)
    if not paused and after.pause_sent:
        return replace(after, pause_sent=False, pause_count=after.pause_count + 1)
    return after


def _consent(before: Chain, after: Chain, found: list[Emission]) -> None:
    """R14: the store asks for consent to a higher price, the customer gives it."""
    if after.price_consent is before.price_consent:
        return
    key = str(after.next_price_at_ms)
    period = _latest(after)
    if after.price_consent is PriceConsent.PENDING:
        found.append(emit.simple(EventType.PRICE_INCREASE_CONSENT_REQUIRED, after, period, key, after.as_of_ms))
    elif after.price_consent is PriceConsent.ACCEPTED and before.price_consent is PriceConsent.PENDING:
        found.append(emit.simple(EventType.PRICE_INCREASE_CONSENT_APPROVED, after, period, key, after.as_of_ms))


def access_changes(after: Chain, found: list[Emission]) -> Chain:
    """R16 and R17: EXPIRATION when access is over by the store's own clock, once a period; reopening is silent.

    The clock is `as_of_ms`, the store's newest statement, never the machine's: a late message about a running period
    must not end it.
    """
    period = _latest(after)
    if not after.is_subscription or after.superseded:
        return after
    at_ms = after.as_of_ms if period.refunded_at_ms is None else max(after.as_of_ms, period.refunded_at_ms)
    if has_access(after, at_ms):
        if after.expired_event_for_period == period.period_key:
            return replace(after, expired_event_for_period=None, reopen_count=after.reopen_count + 1)
        return after
    if after.expired_event_for_period == period.period_key:
        return after
    ended_ms = min(at_ms, access_until_ms(after) or at_ms)
    found.append(emit.expiration(after, period, expiration_reason(after, period), ended_ms))
    return replace(after, expired_event_for_period=period.period_key)
