"""Access and state derived from a chain (spec: stores 11.3, events 8.6, 8.8, 11)."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from bellwire.engine.access import (
    NEVER_MS,
    access_until_ms,
    active_entitlements,
    chain_state,
    has_access,
    oldest_purchase_ms,
    owns_active_subscription,
)
from bellwire.model.customers import AppUserId, Customer
from bellwire.model.enums import ChainState, Environment, PeriodType, ProductType, Store
from bellwire.model.projects import Catalogue, ProjectSettings
from bellwire.model.purchases import Chain, Period

START_MS = 1000
END_MS = 2000
PERIOD = Period(
    period_key="P1",
    ordinal=1,
    product_id="pro",
    plan_id="monthly",
    period_type=PeriodType.NORMAL,
    purchased_at_ms=START_MS,
    expires_at_ms=END_MS,
    price_micros=1,
    currency="USD",
    price_usd_micros=1,
)
CHAIN = Chain(
    id=1,
    project_id="p",
    app_id="a",
    store=Store.PLAY_STORE,
    environment=Environment.PRODUCTION,
    store_key="k",
    first_store_key="k",
    original_transaction_id="k",
    customer_id=1,
    product_type=ProductType.SUBSCRIPTION,
    periods=(PERIOD,),
    as_of_ms=1500,
    auto_renew=True,
)
CATALOGUE = Catalogue(entitlements_by_product={"pro": ("pro", "extra"), "coins": ("coins",)})


def chain(period: dict[str, object] | None = None, **fields: object) -> Chain:
    return replace(CHAIN, periods=(replace(PERIOD, **(period or {})),), **fields)


@dataclass(frozen=True)
class Row:
    """One line of the table: a chain, when access ends, its state at 1500 and at 2500."""

    name: str
    chain: Chain
    until_ms: int | None
    at_1500: ChainState
    at_2500: ChainState


S = ChainState
TABLE = [
    Row("active", chain(), END_MS, S.ACTIVE, S.EXPIRED),
    Row("trial", chain({"period_type": PeriodType.TRIAL}), END_MS, S.TRIAL, S.EXPIRED),
    Row("cancelled", chain(auto_renew=False), END_MS, S.CANCELLED, S.EXPIRED),
    Row("trial, cancelled", chain({"period_type": PeriodType.TRIAL}, auto_renew=False), END_MS, S.CANCELLED, S.EXPIRED),
    Row("prepaid", chain({"period_type": PeriodType.PREPAID}, auto_renew=None), END_MS, S.ACTIVE, S.EXPIRED),
    Row("lifetime", chain({"expires_at_ms": None}, auto_renew=None), None, S.ACTIVE, S.ACTIVE),
    Row("grace", chain(billing_issue_at_ms=1400, grace_expires_at_ms=3000), 3000, S.GRACE, S.GRACE),
    Row("grace that is shorter", chain(billing_issue_at_ms=1400, grace_expires_at_ms=1800), END_MS, S.GRACE, S.RETRY),
    Row("old grace without an issue", chain(grace_expires_at_ms=3000), END_MS, S.ACTIVE, S.EXPIRED),
    Row("retry", chain(billing_issue_at_ms=1400, billing_retry=True, ended_at_ms=1450), 1450, S.RETRY, S.RETRY),
    Row("retry given up", chain(billing_issue_at_ms=1400, ended=True, ended_at_ms=1450), 1450, S.EXPIRED, S.EXPIRED),
    Row("paused", chain(paused=True, ended_at_ms=1450), 1450, S.PAUSED, S.PAUSED),
    Row("paused, no time known", chain(paused=True), 1500, S.PAUSED, S.PAUSED),
    Row("pause to come", chain(pause_scheduled=True), END_MS, S.ACTIVE, S.EXPIRED),
    Row("ended although dates go on", chain(ended=True, ended_at_ms=1450), 1450, S.EXPIRED, S.EXPIRED),
    Row("ended after its dates", chain(ended=True, ended_at_ms=2400), END_MS, S.ACTIVE, S.EXPIRED),
    Row("refunded", chain({"refunded_at_ms": 1300}), 1300, S.REFUNDED, S.REFUNDED),
    Row("refunded after its end", chain({"refunded_at_ms": 2400}), END_MS, S.REFUNDED, S.REFUNDED),
    Row("refunded, access kept", chain({"refunded_at_ms": 1300, "refund_revokes": False}), END_MS, S.ACTIVE, S.EXPIRED),
    Row("family share ended", chain({"refunded_at_ms": 1300, "family_revoked": True}), 1300, S.EXPIRED, S.EXPIRED),
    Row("lifetime refunded", chain({"expires_at_ms": None, "refunded_at_ms": 1300}), 1300, S.REFUNDED, S.REFUNDED),
    Row("superseded", chain(superseded=True), NEVER_MS, S.SUPERSEDED, S.SUPERSEDED),
    Row("pending", replace(CHAIN, periods=(), pending=True), NEVER_MS, S.PENDING, S.PENDING),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_access_and_state(row: Row) -> None:
    assert access_until_ms(row.chain) == row.until_ms
    assert chain_state(row.chain, 1500) is row.at_1500
    assert chain_state(row.chain, 2500) is row.at_2500


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_access_is_on_until_its_end_and_not_at_it(row: Row) -> None:
    if row.until_ms is None:
        assert has_access(row.chain, 10**18)
    else:
        assert not has_access(row.chain, row.until_ms)
        assert has_access(row.chain, row.until_ms - 1)


def test_only_the_latest_period_counts() -> None:
    later = replace(PERIOD, period_key="P2", ordinal=2, purchased_at_ms=END_MS, expires_at_ms=3000)
    both = replace(CHAIN, periods=(replace(PERIOD, refunded_at_ms=1300), later))
    assert access_until_ms(both) == 3000
    assert chain_state(both, 2500) is ChainState.ACTIVE


def test_entitlements_are_the_union_of_what_runs() -> None:
    coins = replace(chain({"product_id": "coins", "plan_id": None, "expires_at_ms": None}), auto_renew=None)
    over = chain({"product_id": "coins", "plan_id": None})
    settings = ProjectSettings()
    assert active_entitlements((CHAIN, over), CATALOGUE, settings, 1500) == {"pro", "extra", "coins"}
    assert active_entitlements((CHAIN, coins), CATALOGUE, settings, 2500) == {"coins"}
    assert active_entitlements((), CATALOGUE, settings, 2500) == frozenset()
    assert active_entitlements((CHAIN,), Catalogue(), settings, 1500) == frozenset()


def test_sandbox_purchases_grant_only_where_they_may() -> None:
    sandbox = replace(CHAIN, environment=Environment.SANDBOX)
    assert active_entitlements((sandbox,), CATALOGUE, ProjectSettings(), 1500) == {"pro", "extra"}
    strict = ProjectSettings(sandbox_grants_entitlements=False)
    assert active_entitlements((sandbox,), CATALOGUE, strict, 1500) == frozenset()
    assert active_entitlements((CHAIN, sandbox), CATALOGUE, strict, 1500) == {"pro", "extra"}


def test_a_cancelled_trial_is_an_active_subscription_and_a_lifetime_purchase_is_none() -> None:
    trial = chain({"period_type": PeriodType.TRIAL}, auto_renew=False)
    lifetime = chain({"expires_at_ms": None}, product_type=ProductType.NON_CONSUMABLE, auto_renew=None)
    assert owns_active_subscription((trial,), 1500)
    assert not owns_active_subscription((trial,), END_MS)
    assert not owns_active_subscription((lifetime,), 1500)
    assert not owns_active_subscription((chain({"refunded_at_ms": 1300}),), 1500)


@pytest.mark.parametrize(("first_seen_ms", "told"), [(5000, START_MS), (500, 500)])
def test_customer_is_as_old_as_the_oldest_purchase(first_seen_ms: int, told: int) -> None:
    customer = Customer(
        id=1,
        project_id="p",
        original_app_user_id="u",
        ids=(AppUserId(app_user_id="u", first_seen_ms=first_seen_ms, last_seen_ms=first_seen_ms),),
        first_seen_ms=first_seen_ms,
        last_seen_ms=first_seen_ms,
    )
    assert oldest_purchase_ms((CHAIN,), customer) == told
    assert oldest_purchase_ms((), customer) == first_seen_ms
