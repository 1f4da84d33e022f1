"""Apple's transactions and renewal infos as facts. Pure (spec: stores 2.3, 2.5, 2.6)."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import UNSET

from bellwire.kit.countries import alpha_2
from bellwire.model.enums import (
    CancelReason,
    Environment,
    ExpirationReason,
    Ownership,
    PeriodType,
    PriceConsent,
    ProductType,
    Store,
)
from bellwire.model.facts import PeriodFact, Snapshot, product_key
from bellwire.stores.apple.payloads import RenewalInfo, Transaction

T = TypeVar("T")

ACTIVE, EXPIRED, RETRY, GRACE, REVOKED = 1, 2, 3, 4, 5
"""`status` of a subscription."""

INTENT_CANCELLED, INTENT_BILLING, INTENT_PRICE, INTENT_NOT_FOR_SALE = 1, 2, 3, 4
"""`expirationIntent`; 5 is 'other'."""

OFFER_INTRODUCTORY, OFFER_CODE = 1, 3
_OFFER_NAMES = {1: "introductory", 2: "promotional", 3: "offer_code", 4: "win_back"}

_PRODUCT_TYPES = {
    "Auto-Renewable Subscription": ProductType.SUBSCRIPTION,
    "Non-Consumable": ProductType.NON_CONSUMABLE,
    "Consumable": ProductType.CONSUMABLE,
    "Non-Renewing Subscription": ProductType.NON_RENEWING_SUBSCRIPTION,
}

_MICROS_PER_MILLIUNIT = 1000
_WHOLE = 100_000


class Incomplete(ValueError):
    """A transaction without the fields that make it one; the message names the first that is missing."""


def environment_of(name: str | None) -> Environment:
    return Environment.PRODUCTION if name == "Production" else Environment.SANDBOX


def product_type_of(transaction: Transaction) -> ProductType:
    """The kind of product; one that Apple invents later is told apart by having an end."""
    known = _PRODUCT_TYPES.get(transaction.type or "")
    if known is not None:
        return known
    return ProductType.ONE_TIME if transaction.expires_date is None else ProductType.SUBSCRIPTION


def store_key_of(transaction: Transaction) -> str:
    """Name of the chain a transaction belongs to: the original id of a subscription, its own id else."""
    if product_type_of(transaction) is ProductType.SUBSCRIPTION:
        return transaction.original_transaction_id or _need(transaction.transaction_id, "transactionId")
    return _need(transaction.transaction_id, "transactionId")


def period_of(transaction: Transaction) -> PeriodFact:
    """One transaction as a period. Raises Incomplete."""
    shared = transaction.in_app_ownership_type == "FAMILY_SHARED"
    price = _price(transaction)
    revoked = transaction.revocation_date
    return PeriodFact(
        period_key=_need(transaction.transaction_id, "transactionId"),
        product_id=_need(transaction.product_id, "productId"),
        plan_id=_plan(transaction.billing_plan_type),
        period_type=_period_type(transaction),
        purchased_at_ms=_need(transaction.purchase_date, "purchaseDate"),
        expires_at_ms=_expires(transaction),
        price_micros=price,
        currency=transaction.currency,
        country=_country(transaction.storefront),
        offer_code=transaction.offer_identifier,
        offer_type=None if transaction.offer_type is None else _offer_name(transaction.offer_type),
        refunded_at_ms=revoked,
        refund_micros=None if revoked is None else _refund(transaction, price),
        family_revoked=revoked is not None and (shared or transaction.revocation_type == "FAMILY_REVOKE"),
        quantity=transaction.quantity if (transaction.quantity or 1) > 1 else None,
    )


def one_time_snapshot(transaction: Transaction, *, store: Store, raw: str = "") -> Snapshot:
    """A consumable, non-consumable or non-renewing purchase. Raises Incomplete."""
    key = store_key_of(transaction)
    return Snapshot(
        store=store,
        environment=environment_of(transaction.environment),
        store_key=key,
        original_transaction_id=transaction.original_transaction_id or key,
        product_type=product_type_of(transaction),
        as_of_ms=_need(transaction.signed_date, "signedDate"),
        periods=(period_of(transaction),),
        complete_history=True,
        started_at_ms=UNSET if transaction.original_purchase_date is None else transaction.original_purchase_date,
        ownership=_ownership(transaction),
        auto_renew=None,
        account_hint=transaction.app_account_token,
        raw=raw,
    )


def subscription_snapshot(
    latest: Transaction,
    renewal: RenewalInfo | None,
    status: int | None,
    *,
    store: Store,
    history: Sequence[Transaction] = (),
    complete_history: bool = False,
    raw: str = "",
) -> Snapshot:
    """The chain of `latest` with the flags that `renewal` and `status` state, and older transactions where known.

    Without a renewal info no flag is stated, so that what is known of the chain stays. Raises Incomplete.
    """
    members = {transaction.transaction_id: transaction for transaction in history}
    members[latest.transaction_id] = latest
    signed = [item.signed_date for item in members.values() if item.signed_date is not None]
    if renewal is not None and renewal.signed_date is not None:
        signed.append(renewal.signed_date)
    snapshot = Snapshot(
        store=store,
        environment=environment_of(latest.environment),
        store_key=store_key_of(latest),
        original_transaction_id=store_key_of(latest),
        product_type=ProductType.SUBSCRIPTION,
        as_of_ms=_need(max(signed, default=None), "signedDate"),
        periods=_periods(list(members.values())),
        complete_history=complete_history,
        started_at_ms=UNSET if latest.original_purchase_date is None else latest.original_purchase_date,
        ownership=_ownership(latest),
        account_hint=latest.app_account_token,
        raw=raw,
    )
    return snapshot if renewal is None else _with_flags(snapshot, latest, renewal, status)


def _with_flags(snapshot: Snapshot, latest: Transaction, renewal: RenewalInfo, status: int | None) -> Snapshot:
    state = status if status is not None else _guess_status(latest, renewal)
    failing = renewal.is_in_billing_retry_period is True or state in (RETRY, GRACE)
    target = _renewal_target(latest, renewal)
    return msgspec.structs.replace(
        snapshot,
        auto_renew=_auto_renew(renewal, state),
        auto_renew_product_id=target,
        change_effective_at_ms=None if target is None else renewal.renewal_date or latest.expires_date,
        cancel_reason=_cancel_reason(renewal, state),
        billing_issue=failing or renewal.expiration_intent == INTENT_BILLING,
        billing_retry=state == RETRY,
        grace_expires_at_ms=_grace(latest, renewal, state),
        price_consent=_consent(renewal.price_increase_status),
        next_price_micros=_micros(renewal.renewal_price),
        next_price_currency=renewal.currency,
        next_price_at_ms=renewal.renewal_date,
        ended=state in (EXPIRED, REVOKED),
        expiration_reason=_expiration_reason(renewal, state),
    )


def _auto_renew(renewal: RenewalInfo, state: int) -> bool | msgspec.UnsetType:
    """Whether the customer wants it to renew.

    One that is over does not renew whatever ended it: only where the customer's will did (cancelled, did not consent)
    is it switched off by somebody; else what is known stays, or a failed payment would look like a cancellation, and a
    refund that is taken back like a change of mind.
    """
    if state == REVOKED:
        return UNSET
    if state == EXPIRED:
        return False if renewal.expiration_intent in (INTENT_CANCELLED, INTENT_PRICE) else UNSET
    commitment = renewal.commitment_info
    if commitment is not None and commitment.commitment_auto_renew_status is not None:
        return commitment.commitment_auto_renew_status == 1
    return UNSET if renewal.auto_renew_status is None else renewal.auto_renew_status == 1


def _cancel_reason(renewal: RenewalInfo, state: int) -> CancelReason | msgspec.UnsetType:
    priced_out = state == EXPIRED and renewal.expiration_intent == INTENT_PRICE
    return CancelReason.PRICE_INCREASE if priced_out else UNSET


def _expiration_reason(renewal: RenewalInfo, state: int) -> ExpirationReason | msgspec.UnsetType:
    if state != EXPIRED or renewal.expiration_intent in (INTENT_CANCELLED, INTENT_BILLING, INTENT_PRICE):
        return UNSET
    off_sale = renewal.expiration_intent == INTENT_NOT_FOR_SALE
    return ExpirationReason.DEVELOPER_INITIATED if off_sale else ExpirationReason.UNKNOWN


def _guess_status(latest: Transaction, renewal: RenewalInfo) -> int:
    """`status` of a payload that leaves it out, from what it does say, as of its own date."""
    now = max(latest.signed_date or 0, renewal.signed_date or 0)
    expires = latest.expires_date or 0
    if latest.revocation_date is not None:
        return REVOKED
    if renewal.is_in_billing_retry_period is True:
        grace = renewal.grace_period_expires_date or 0
        if grace > now:
            return GRACE
        return ACTIVE if expires > now else RETRY
    return ACTIVE if expires > now else EXPIRED


def _renewal_target(latest: Transaction, renewal: RenewalInfo) -> str | None:
    """The product that the next renewal buys, where it is another one."""
    current = product_key(renewal.product_id or latest.product_id or "", _plan(latest.billing_plan_type))
    if renewal.auto_renew_product_id is None:
        return None
    plan = renewal.renewal_billing_plan_type or latest.billing_plan_type
    target = product_key(renewal.auto_renew_product_id, _plan(plan))
    return None if target == current else target


def _grace(latest: Transaction, renewal: RenewalInfo, state: int) -> int | None:
    grace = renewal.grace_period_expires_date
    return grace if state == GRACE and grace is not None and grace > (latest.expires_date or 0) else None


def _consent(status: int | None) -> PriceConsent:
    if status is None:
        return PriceConsent.NONE
    return PriceConsent.ACCEPTED if status == 1 else PriceConsent.PENDING


def _periods(transactions: list[Transaction]) -> tuple[PeriodFact, ...]:
    """Periods by purchase; one that an upgrade cut short ends where the next begins (spec: stores 2.5)."""
    ordered = sorted(transactions, key=lambda item: (item.purchase_date or 0, item.transaction_id or ""))
    periods = [period_of(item) for item in ordered]
    for index, item in enumerate(ordered[:-1]):
        following = periods[index + 1].purchased_at_ms
        expires = periods[index].expires_at_ms
        if item.is_upgraded is True and expires is not None and following < expires:
            periods[index] = msgspec.structs.replace(periods[index], expires_at_ms=following)
    return tuple(periods)


def _period_type(transaction: Transaction) -> PeriodType:
    """Free is a trial whatever the offer; a paid introduction or offer code is INTRO, other paid offers NORMAL."""
    if transaction.offer_type is None:
        return PeriodType.NORMAL
    if product_type_of(transaction) is not ProductType.SUBSCRIPTION:
        return PeriodType.NORMAL
    if transaction.offer_discount_type == "FREE_TRIAL" or transaction.price == 0:
        return PeriodType.TRIAL
    intro = transaction.offer_type in (OFFER_INTRODUCTORY, OFFER_CODE)
    return PeriodType.INTRO if intro else PeriodType.NORMAL


def _price(transaction: Transaction) -> int | None:
    if transaction.in_app_ownership_type == "FAMILY_SHARED" or transaction.offer_discount_type == "FREE_TRIAL":
        return 0
    return _micros(transaction.price)


def _refund(transaction: Transaction, price_micros: int | None) -> int | None:
    """What went back where it was a part of the price; None = all of it."""
    if transaction.revocation_type != "REFUND_PRORATED" or transaction.revocation_percentage is None:
        return None
    if price_micros is None:
        return None
    return (price_micros * transaction.revocation_percentage + _WHOLE // 2) // _WHOLE


def _expires(transaction: Transaction) -> int | None:
    """Only subscriptions end by themselves: Apple tells no end of a non-renewing one that could be relied on."""
    return transaction.expires_date if product_type_of(transaction) is ProductType.SUBSCRIPTION else None


def _ownership(transaction: Transaction) -> Ownership:
    shared = transaction.in_app_ownership_type == "FAMILY_SHARED"
    return Ownership.FAMILY_SHARED if shared else Ownership.PURCHASED


def _micros(milliunits: int | None) -> int | None:
    return None if milliunits is None else milliunits * _MICROS_PER_MILLIUNIT


def _country(storefront: str | None) -> str | None:
    return "XK" if storefront == "XKS" else alpha_2(storefront)  # Apple's own code for Kosovo, which ISO leaves out


def _plan(billing_plan_type: str | None) -> str | None:
    return "monthly" if billing_plan_type == "MONTHLY" else None


def _offer_name(offer_type: int) -> str:
    return _OFFER_NAMES.get(offer_type, str(offer_type))


def _need(value: T | None, name: str) -> T:
    if value is None:
        raise Incomplete(f"a transaction without {name}")
    return value
