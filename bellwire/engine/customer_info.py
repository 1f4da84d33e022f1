"""A customer as SDKs and REST clients see one: entitlements, subscriptions, one-time purchases (spec: api 2)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from bellwire.engine.access import access_until_ms, grants_entitlements, has_access
from bellwire.model.customer_info import (
    AttributeInfo,
    CustomerInfo,
    EntitlementInfo,
    NonSubscriptionInfo,
    PriceInfo,
    SubscriberInfo,
    SubscriptionInfo,
)
from bellwire.model.customers import Customer
from bellwire.model.enums import Environment, PeriodType, Store
from bellwire.model.projects import Catalogue, ProjectSettings
from bellwire.model.purchases import Chain, Period

_LAST_SECOND = 253_402_300_799
"""9999-12-31T23:59:59Z, the last moment that the date form can spell."""


class _Holding(msgspec.Struct, frozen=True):
    """One product of a chain, through the newest of its periods there."""

    chain: Chain
    period: Period
    product_ends_ms: int | None
    """End of the period, cut where access stopped earlier."""
    access_ends_ms: int | None
    """End of access: a running grace period counts. None = never."""
    is_running: bool
    """It is the chain's latest period: the chain's flags speak about it."""


def customer_info(
    customer: Customer,
    chains: Sequence[Chain],
    catalogue: Catalogue,
    settings: ProjectSettings,
    *,
    now_ms: int,
    with_attributes: bool,
    management_urls: Mapping[Store, str],
    platform_store: Store | None,
) -> CustomerInfo:
    """The whole object. `management_urls` names the page of each store where people manage a subscription.

    `platform_store` is the store of the asking SDK: of several active subscriptions its page is the one shown.
    """
    holdings = [holding for chain in chains for holding in _holdings(chain)]
    subscriptions = _subscriptions(holdings, catalogue, management_urls, now_ms)
    non_subscriptions = _non_subscriptions(holdings, catalogue)
    granting = [
        one
        for one in holdings
        if grants_entitlements(one.chain, settings) and (_is_subscription(one.chain) or not _is_refunded(one))
    ]
    return CustomerInfo(
        request_date=iso_date(now_ms),
        request_date_ms=now_ms,
        subscriber=SubscriberInfo(
            entitlements=_entitlements(granting, catalogue),
            first_seen=iso_date(customer.first_seen_ms),
            last_seen=iso_date(customer.last_seen_ms),
            management_url=_management_url(chains, management_urls, platform_store, now_ms),
            non_subscriptions=non_subscriptions,
            original_app_user_id=customer.original_app_user_id,
            original_application_version=None,
            original_purchase_date=None,
            other_purchases={},
            subscriber_attributes=_attributes(customer) if with_attributes else UNSET,
            subscriptions=subscriptions,
        ),
    )


def iso_date(time_ms: int) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`; the part of a second is cut off, as SDK date parsers want whole seconds."""
    seconds = min(time_ms // 1000, _LAST_SECOND)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _date(time_ms: int | None) -> str | None:
    return None if time_ms is None else iso_date(time_ms)


def _is_subscription(chain: Chain) -> bool:
    """Grants are listed beside subscriptions whatever they are (spec: api 2.6)."""
    return chain.is_subscription or chain.store is Store.PROMOTIONAL


def _is_refunded(holding: _Holding) -> bool:
    return holding.period.refunded_at_ms is not None and holding.period.refund_revokes


def _holdings(chain: Chain) -> list[_Holding]:
    """The products of a chain; those that a later period of another product took over from ended there."""
    by_product: dict[str, _Holding] = {}
    for index, period in enumerate(chain.periods):
        is_running = index == len(chain.periods) - 1
        if is_running:
            access_ends = _access_end(chain)
            product_ends = _earlier(period.expires_at_ms, access_ends)
        else:
            access_ends = product_ends = _earlier(period.expires_at_ms, chain.periods[index + 1].purchased_at_ms)
        for part in _parts(period):
            by_product[part.product_id] = _Holding(chain, part, product_ends, access_ends, is_running)
    return list(by_product.values())


def _parts(period: Period) -> Sequence[Period]:
    """The period of each product of a bundle, as if it had been bought alone: SDKs look every product up by itself."""
    if not period.items:
        return (period,)
    parts: list[Period] = []
    for item in period.items:
        product_id, _, plan_id = item.product_key.partition(":")
        parts.append(
            replace(
                period,
                product_id=product_id,
                plan_id=plan_id or None,
                price_micros=item.price_micros,
                currency=item.currency,
                items=(),
            )
        )
    return parts


def _access_end(chain: Chain) -> int | None:
    if not chain.superseded:
        return access_until_ms(chain)
    stopped = chain.as_of_ms if chain.ended_at_ms is None else chain.ended_at_ms
    return _earlier(None if chain.latest is None else chain.latest.expires_at_ms, stopped)


def _earlier(first_ms: int | None, second_ms: int | None) -> int | None:
    if first_ms is None or second_ms is None:
        return second_ms if first_ms is None else first_ms
    return min(first_ms, second_ms)


def _ends_after(holding: _Holding, now_ms: int) -> bool:
    return holding.product_ends_ms is None or holding.product_ends_ms > now_ms


def _subscriptions(
    holdings: Sequence[_Holding], catalogue: Catalogue, management_urls: Mapping[Store, str], now_ms: int
) -> dict[str, SubscriptionInfo]:
    """One entry a product: its latest purchase, a running one before one that is over."""
    latest: dict[str, _Holding] = {}
    for holding in sorted(
        (one for one in holdings if _is_subscription(one.chain)),
        key=lambda one: (_ends_after(one, now_ms), one.period.purchased_at_ms),
    ):
        latest[holding.period.product_id] = holding
    return {product: _subscription(one, catalogue, management_urls) for product, one in latest.items()}


def _subscription(holding: _Holding, catalogue: Catalogue, management_urls: Mapping[Store, str]) -> SubscriptionInfo:
    chain, period, is_running = holding.chain, holding.period, holding.is_running
    started_ms = chain.periods[0].purchased_at_ms if chain.started_at_ms is None else chain.started_at_ms
    return SubscriptionInfo(
        auto_resume_date=_date(chain.auto_resume_at_ms) if is_running else None,
        billing_issues_detected_at=_date(chain.billing_issue_at_ms) if is_running else None,
        display_name=_display_name(period, catalogue),
        expires_date=_date(holding.product_ends_ms),
        grace_period_expires_date=_grace(holding),
        is_sandbox=_is_sandbox(chain),
        management_url=management_urls.get(chain.store),
        metadata=chain.metadata,
        original_purchase_date=iso_date(started_ms),
        ownership_type=chain.ownership.value,
        period_type=_period_type(period),
        price=_price(period),
        product_plan_identifier=UNSET if period.plan_id is None else period.plan_id,
        purchase_date=iso_date(period.purchased_at_ms),
        refunded_at=_date(period.refunded_at_ms),
        store=chain.store.value.lower(),
        store_transaction_id=period.period_key,
        unsubscribe_detected_at=_date(chain.unsubscribe_detected_at_ms) if is_running else None,
    )


def _non_subscriptions(holdings: Sequence[_Holding], catalogue: Catalogue) -> dict[str, list[NonSubscriptionInfo]]:
    kept = [one for one in holdings if not _is_subscription(one.chain) and not _is_refunded(one)]
    listed: dict[str, list[NonSubscriptionInfo]] = {}
    for holding in sorted(kept, key=lambda one: one.period.purchased_at_ms):
        period = holding.period
        purchased = iso_date(period.purchased_at_ms)
        entry = NonSubscriptionInfo(
            id=format(holding.chain.id, "x"),
            display_name=_display_name(period, catalogue),
            is_sandbox=_is_sandbox(holding.chain),
            original_purchase_date=purchased,
            price=_price(period),
            purchase_date=purchased,
            store=holding.chain.store.value.lower(),
            store_transaction_id=period.period_key,
        )
        listed.setdefault(period.product_id, []).append(entry)
    return listed


def _entitlements(holdings: Sequence[_Holding], catalogue: Catalogue) -> dict[str, EntitlementInfo]:
    """Of several purchases that give one entitlement, the one that ends last, then the latest (spec: events 11.4)."""
    best: dict[str, _Holding] = {}
    for holding in holdings:
        for identifier in catalogue.entitlements_of(holding.period.product_key):
            known = best.get(identifier)
            if known is None or _outlasts(holding, known):
                best[identifier] = holding
    return {identifier: _entitlement(best[identifier]) for identifier in sorted(best)}


def _outlasts(one: _Holding, other: _Holding) -> bool:
    if one.access_ends_ms != other.access_ends_ms:
        if one.access_ends_ms is None or other.access_ends_ms is None:
            return one.access_ends_ms is None
        return one.access_ends_ms > other.access_ends_ms
    return one.period.purchased_at_ms > other.period.purchased_at_ms


def _entitlement(holding: _Holding) -> EntitlementInfo:
    plan_id = holding.period.plan_id
    return EntitlementInfo(
        expires_date=_date(holding.access_ends_ms),
        grace_period_expires_date=_grace(holding),
        product_identifier=holding.period.product_id,
        product_plan_identifier=UNSET if plan_id is None else plan_id,
        purchase_date=iso_date(holding.period.purchased_at_ms),
    )


def _management_url(
    chains: Sequence[Chain], urls: Mapping[Store, str], platform_store: Store | None, now_ms: int
) -> str | None:
    active = [one for one in chains if one.is_subscription and one.store in urls and has_access(one, now_ms)]
    if not active:
        return None

    def rank(chain: Chain) -> tuple[bool, bool, int]:
        until_ms = access_until_ms(chain)
        return chain.store is platform_store, until_ms is None, until_ms or 0

    return urls[max(active, key=rank).store]


def _attributes(customer: Customer) -> dict[str, AttributeInfo]:
    return {
        key: AttributeInfo(value=one.value, updated_at_ms=one.updated_at_ms)
        for key, one in customer.attributes.items()
        if one.value is not None
    }


def _grace(holding: _Holding) -> str | None:
    in_trouble = holding.is_running and holding.chain.billing_issue_at_ms is not None
    return _date(holding.chain.grace_expires_at_ms) if in_trouble else None


def _display_name(period: Period, catalogue: Catalogue) -> str | None:
    names = catalogue.display_names
    return names.get(period.product_key) or names.get(period.product_id) or None


def _is_sandbox(chain: Chain) -> bool:
    return chain.environment is Environment.SANDBOX


def _period_type(period: Period) -> str:
    """Grants are `normal` here; only events say `PROMOTIONAL` (spec: api 2.4, 2.6)."""
    kind = PeriodType.NORMAL if period.period_type is PeriodType.PROMOTIONAL else period.period_type
    return kind.value.lower()


def _price(period: Period) -> PriceInfo | None:
    if period.price_micros is None or period.currency is None:
        return None
    return PriceInfo(amount=period.price_micros / 1_000_000, currency=period.currency)
