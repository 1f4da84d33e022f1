"""Folding a snapshot into a chain: monotone facts whatever their age, flags only from the newest (spec: stores 11.4)."""

from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from bellwire.engine.emission import Context
from bellwire.engine.money import amounts
from bellwire.model.enums import PeriodType
from bellwire.model.facts import BundleItem, PeriodFact, Snapshot
from bellwire.model.purchases import Chain, Period

T = TypeVar("T")

_UNNUMBERED = 1 << 31
_SAME_MOMENT_MS = 60_000
"""How far a store's start of a chain and of its first period may lie apart; sandbox periods last some minutes."""


def blank_chain(snapshot: Snapshot, *, chain_id: int, project_id: str, app_id: str | None, customer_id: int) -> Chain:
    """A chain of which nothing is known yet but its name."""
    return Chain(
        id=chain_id,
        project_id=project_id,
        app_id=app_id,
        store=snapshot.store,
        environment=snapshot.environment,
        store_key=snapshot.store_key,
        first_store_key=snapshot.store_key,
        original_transaction_id=snapshot.original_transaction_id,
        customer_id=customer_id,
        product_type=snapshot.product_type,
        ownership=snapshot.ownership,
    )


def merge(chain: Chain, snapshot: Snapshot, context: Context) -> Chain:
    """The chain with what the snapshot adds. Applying the same snapshot again changes nothing.

    What is said under a key that the chain has left adds periods and refunds, but no longer speaks for its state.
    """
    current = snapshot.store_key == chain.store_key
    fresh = current and snapshot.as_of_ms >= chain.as_of_ms
    # A chain that gave way keeps the dates it was left with: the one that took over does the talking from then on.
    periods = _merge_periods(chain, snapshot, context, fresh=fresh and not snapshot.replaced_by_other)
    turned = bool(periods) and (chain.latest is None or periods[-1].period_key != chain.latest.period_key)
    after = replace(chain, periods=periods)
    if periods and not chain.periods:  # a pending purchase has no name yet but its key
        after = replace(after, original_transaction_id=snapshot.original_transaction_id)
    if turned:
        after = _start_period(chain, after)
    if snapshot.started_at_ms is not UNSET:
        after = replace(after, started_at_ms=snapshot.started_at_ms)
    if current and snapshot.replaced_by_other:
        return replace(after, superseded=True)
    if not fresh:
        return after
    after = replace(
        after,
        pending=snapshot.pending and not periods,
        ownership=snapshot.ownership,
        acknowledged=_said(snapshot.acknowledged, after.acknowledged),
    )
    if not (_states_flags(snapshot) or not chain.is_subscription):
        return after
    return _merge_flags(after, snapshot, turned=turned)


def _merge_periods(chain: Chain, snapshot: Snapshot, context: Context, *, fresh: bool) -> tuple[Period, ...]:
    known = {period.period_key: period for period in chain.periods}
    facts = {fact.period_key: fact for fact in snapshot.periods}
    changed = {
        key: _update_period(known[key], fact, snapshot, context, fresh=fresh)
        for key, fact in facts.items()
        if key in known
    }
    new = sorted((fact for key, fact in facts.items() if key not in known), key=_order_of)
    if not new and all(changed[key] is known[key] for key in changed):
        return chain.periods
    periods = [changed.get(period.period_key, period) for period in chain.periods]
    for fact in new:
        earlier = [period for period in periods if _order_of(period) < _order_of(fact)]
        counted = earlier[-1].ordinal + 1 if earlier else _first_ordinal(chain, fact, snapshot)
        periods.insert(len(earlier), _new_period(fact, snapshot, earlier, context, counted=counted))
    return _number(periods)


def _order_of(period: PeriodFact | Period) -> tuple[int, int, str]:
    """By purchase; of those at one moment (an immediate change of product) one without a number comes after others."""
    return (period.purchased_at_ms, _UNNUMBERED if period.ordinal is None else period.ordinal, period.period_key)


def _first_ordinal(chain: Chain, fact: PeriodFact, snapshot: Snapshot) -> int:
    """Number of the earliest period known: at least 2 if the chain began before it, so that it is a RENEWAL."""
    started = _said(snapshot.started_at_ms, chain.started_at_ms)
    if started is None or fact.ordinal is not None or snapshot.complete_history or not chain.is_subscription:
        return 1
    return 1 if fact.purchased_at_ms - started < _SAME_MOMENT_MS else 2


def _new_period(
    fact: PeriodFact, snapshot: Snapshot, earlier: list[Period], context: Context, *, counted: int
) -> Period:
    money = amounts(fact, snapshot, earlier, app=context.app, rates=context.rates)
    refunded = None if fact.refunded_at_ms is UNSET else fact.refunded_at_ms
    return Period(
        period_key=fact.period_key,
        ordinal=max(counted, fact.ordinal or 0),
        product_id=fact.product_id,
        plan_id=fact.plan_id,
        period_type=fact.period_type,
        purchased_at_ms=fact.purchased_at_ms,
        expires_at_ms=fact.expires_at_ms,
        price_micros=money.price_micros,
        currency=money.currency,
        price_usd_micros=money.price_usd_micros,
        price_assumed=money.price_assumed,
        tax_ppm=money.tax_ppm,
        commission_ppm=money.commission_ppm,
        takehome_ppm=money.takehome_ppm,
        country=fact.country,
        offer_code=fact.offer_code,
        offer_type=fact.offer_type,
        refunded_at_ms=refunded,
        refund_micros=fact.refund_micros,
        refund_revokes=fact.refund_revokes,
        refund_count=0 if refunded is None else 1,
        refund_as_of_ms=0 if fact.refunded_at_ms is UNSET else snapshot.as_of_ms,
        family_revoked=fact.family_revoked,
        quantity=fact.quantity,
        items=fact.items,
    )


def _update_period(period: Period, fact: PeriodFact, snapshot: Snapshot, context: Context, *, fresh: bool) -> Period:
    """Carry-over of stores 11.5: what was known stays, gaps are filled, the end moves with the newest statement."""
    after = period
    if period.price_micros is None and fact.price_micros is not None:
        after = _with_price(after, fact, snapshot, context)
    if fresh and fact.expires_at_ms != period.expires_at_ms:
        after = replace(after, expires_at_ms=fact.expires_at_ms)
    if fresh and fact.items != period.items:
        items = _carried_items(period, fact)
        after = after if items == period.items else replace(after, items=items)
    if period.country is None and fact.country is not None:
        after = replace(after, country=fact.country)
    return _update_refund(after, fact, snapshot.as_of_ms)


def _carried_items(period: Period, fact: PeriodFact) -> tuple[BundleItem, ...]:
    """The items as newly told, at the prices known before. The price of one that joined is its own only if all prices
    together are still the period's: otherwise another charge than the period's paid for it.
    """
    known = {item.product_key: item for item in period.items if item.price_micros is not None}
    items = tuple(
        replace(item, price_micros=known[item.product_key].price_micros, currency=known[item.product_key].currency)
        if item.product_key in known
        else item
        for item in fact.items
    )
    if period.price_micros is None or sum(item.price_micros or 0 for item in items) == period.price_micros:
        return items
    return tuple(item if item.product_key in known else replace(item, price_micros=None) for item in items)


def _update_refund(period: Period, fact: PeriodFact, as_of_ms: int) -> Period:
    """Money that went back or came again, by the newest statement about it.

    Hearing of a first refund only after it was taken back is counted without taking effect: both have happened.
    """
    refunded = fact.refunded_at_ms
    if refunded is UNSET:
        return period
    if as_of_ms < period.refund_as_of_ms:
        missed = refunded is not None and period.refunded_at_ms is None and period.refund_count == 0
        return replace(period, refund_count=1) if missed else period
    after = replace(period, refund_as_of_ms=as_of_ms)
    if refunded is not None and period.refunded_at_ms is None:
        return replace(
            after,
            refunded_at_ms=refunded,
            refund_micros=fact.refund_micros,
            refund_revokes=fact.refund_revokes,
            family_revoked=fact.family_revoked,
            refund_count=period.refund_count + 1,
        )
    if refunded is not None and fact.refund_revokes and not period.refund_revokes:
        return replace(after, refund_revokes=True)
    if refunded is None and period.refunded_at_ms is not None:
        return replace(after, refunded_at_ms=None, refund_micros=None, refund_revokes=True, family_revoked=False)
    return after


def _with_price(period: Period, fact: PeriodFact, snapshot: Snapshot, context: Context) -> Period:
    """A price that the store had not told before. Events that went out without it stay as they are."""
    money = amounts(fact, snapshot, (), app=context.app, rates=context.rates)
    return replace(
        period, price_micros=money.price_micros, currency=money.currency, price_usd_micros=money.price_usd_micros
    )


def _number(periods: list[Period]) -> tuple[Period, ...]:
    """Ordinals by time, and trial conversions. Late history moves the numbers of what came after it; a number that is
    higher than counting gives was told by the store and stays.
    """
    numbered: list[Period] = []
    for period in periods:
        before = numbered[-1] if numbered else None
        ordinal, converted = period.ordinal, False
        if before is not None:
            ordinal = max(before.ordinal + 1, period.ordinal)
            converted = before.period_type is PeriodType.TRIAL and period.period_type is not PeriodType.TRIAL
        if ordinal != period.ordinal or converted != period.is_trial_conversion:
            period = replace(period, ordinal=ordinal, is_trial_conversion=converted)
        numbered.append(period)
    return tuple(numbered)


def carries_on(before: Chain, period: Period) -> bool:
    """Whether a new running period is the old one renewed: same product, no gap. Then renewal is on or off as before.

    Otherwise the customer has bought anew, and renewal is as the store says (Apple renews some subscriptions that were
    cancelled in the last day before their end).
    """
    old = before.latest
    if old is None or old.product_key != period.product_key or before.expired_event_for_period == old.period_key:
        return False
    return old.expires_at_ms is None or period.purchased_at_ms <= old.expires_at_ms


def _start_period(before: Chain, chain: Chain) -> Chain:
    """A new running period ends outages and pauses of the one before, and its cancellation unless it carries on."""
    latest = chain.latest
    carried = latest is not None and carries_on(before, latest)
    still_off = carried and before.auto_renew is False
    pending = chain.auto_renew_product_id
    announced = latest is not None and pending == latest.product_key
    return replace(
        chain,
        toggle_count=0,
        change_count=0,
        auto_renew_product_id=None if announced else pending,
        change_effective_at_ms=None if announced else chain.change_effective_at_ms,
        auto_renew=before.auto_renew if carried else None,
        unsubscribe_detected_at_ms=before.unsubscribe_detected_at_ms if still_off else None,
        cancel_reason=before.cancel_reason if still_off else None,
        cancelled_in_period=False,
        cancel_survey=before.cancel_survey if still_off else None,
        billing_issue_at_ms=None,
        outage_count=0,
        billing_retry=False,
        grace_expires_at_ms=None,
        paused=False,
        pause_scheduled=False,
        pause_count=0,
        pause_sent=False,
        auto_resume_at_ms=None,
        ended=False,
        ended_at_ms=None,
        expiration_hint=None,
        reopen_count=0,
    )


def _states_flags(snapshot: Snapshot) -> bool:
    return any(
        flag is not UNSET
        for flag in (
            snapshot.auto_renew,
            snapshot.billing_issue,
            snapshot.paused,
            snapshot.ended,
            snapshot.pause_scheduled,
        )
    )


def _merge_flags(chain: Chain, snapshot: Snapshot, *, turned: bool) -> Chain:
    as_of = snapshot.as_of_ms
    auto_renew = _said(snapshot.auto_renew, chain.auto_renew)
    flipped = auto_renew is not chain.auto_renew and chain.auto_renew is not None and not turned
    unsubscribed = chain.unsubscribe_detected_at_ms
    if auto_renew is False:
        told = None if snapshot.cancelled_at_ms is UNSET else snapshot.cancelled_at_ms
        unsubscribed = told or unsubscribed or as_of
    else:
        unsubscribed = None
    target = _said(snapshot.auto_renew_product_id, chain.auto_renew_product_id)
    latest = chain.latest
    if latest is not None and target == latest.product_key:
        target = None
    after = replace(
        chain,
        as_of_ms=as_of,
        auto_renew=auto_renew,
        toggle_count=chain.toggle_count + (1 if flipped else 0),
        unsubscribe_detected_at_ms=unsubscribed,
        cancel_survey=_said(snapshot.cancel_survey, chain.cancel_survey),
        auto_renew_product_id=target,
        change_effective_at_ms=_said(snapshot.change_effective_at_ms, chain.change_effective_at_ms),
        paused=_said(snapshot.paused, chain.paused),
        pause_scheduled=_said(snapshot.pause_scheduled, chain.pause_scheduled),
        auto_resume_at_ms=_said(snapshot.auto_resume_at_ms, chain.auto_resume_at_ms),
        price_consent=_said(snapshot.price_consent, chain.price_consent),
        next_price_micros=_said(snapshot.next_price_micros, chain.next_price_micros),
        next_price_currency=_said(snapshot.next_price_currency, chain.next_price_currency),
        next_price_at_ms=_said(snapshot.next_price_at_ms, chain.next_price_at_ms),
        expiration_hint=_said(snapshot.expiration_reason, chain.expiration_hint),
    )
    return _merge_billing(after, snapshot)


def _merge_billing(chain: Chain, snapshot: Snapshot) -> Chain:
    """Outage, grace and the end of access. An outage lasts until a new period, or until access is simply there again."""
    as_of = snapshot.as_of_ms
    retry = _said(snapshot.billing_retry, chain.billing_retry)
    ended = _said(snapshot.ended, chain.ended)
    stopped = retry or ended or chain.paused
    since, outages = chain.billing_issue_at_ms, chain.outage_count
    if snapshot.billing_issue is True and since is None:
        told = None if snapshot.billing_issue_at_ms is UNSET else snapshot.billing_issue_at_ms
        since, outages = told or as_of, outages + 1
    elif snapshot.billing_issue is False and since is not None and not stopped and _runs(chain, as_of):
        since = None
    return replace(
        chain,
        billing_issue_at_ms=since,
        outage_count=outages,
        grace_expires_at_ms=_said(snapshot.grace_expires_at_ms, chain.grace_expires_at_ms),
        billing_retry=retry,
        ended=ended,
        ended_at_ms=(as_of if chain.ended_at_ms is None else chain.ended_at_ms) if stopped else None,
    )


def _runs(chain: Chain, at_ms: int) -> bool:
    expires = chain.latest.expires_at_ms if chain.latest is not None else 0
    return expires is None or expires > at_ms


def _said(value: T | UnsetType, known: T) -> T:
    return known if isinstance(value, msgspec.UnsetType) else value
