"""Whose purchase it is when somebody else posts it: the whole table (spec: events 8.5, api 3.3; statements 33-36)."""

import pytest
from msgspec.structs import replace

from bellwire.engine.ownership import Ownership, decide
from bellwire.model.customers import AppUserId, Customer
from bellwire.model.enums import Environment, PeriodType, ProductType, RestoreBehavior, Store
from bellwire.model.purchases import Chain, Period

NOW_MS = 1500
ANON_A, ANON_B = "$RCAnonymousID:" + "a" * 32, "$RCAnonymousID:" + "b" * 32


def customer(row_id: int, *names: str) -> Customer:
    return Customer(
        id=row_id,
        project_id="p",
        original_app_user_id=names[0],
        ids=tuple(AppUserId(app_user_id=name, first_seen_ms=1, last_seen_ms=1) for name in names),
        first_seen_ms=1,
        last_seen_ms=1,
    )


RUNNING = Chain(
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
    as_of_ms=1000,
    periods=(
        Period(
            period_key="P1",
            ordinal=1,
            product_id="pro",
            plan_id=None,
            period_type=PeriodType.NORMAL,
            purchased_at_ms=1000,
            expires_at_ms=2000,
            price_micros=1,
            currency="USD",
            price_usd_micros=1,
        ),
    ),
)
OVER = replace(RUNNING, periods=(replace(RUNNING.periods[0], expires_at_ms=1400),))
LIFETIME = replace(
    RUNNING,
    product_type=ProductType.NON_CONSUMABLE,
    periods=(replace(RUNNING.periods[0], expires_at_ms=None),),
)
KEEP, MERGE, TRANSFER, REFUSE = Ownership.KEEP, Ownership.MERGE, Ownership.TRANSFER, Ownership.REFUSE
IDENTIFIED = customer(1, "user1")
POSTERS = [customer(2, "user2"), customer(2, ANON_B), customer(2, ANON_B, "user2")]


@pytest.mark.parametrize("behavior", RestoreBehavior)
@pytest.mark.parametrize("is_restore", [True, False])
@pytest.mark.parametrize("poster", POSTERS, ids=["identified", "anonymous", "both"])
def test_purchase_of_an_anonymous_owner_merges_in_every_mode(
    behavior: RestoreBehavior, is_restore: bool, poster: Customer
) -> None:
    owner = customer(1, ANON_A)
    assert decide(owner, poster, [RUNNING], behavior=behavior, is_restore=is_restore, now_ms=NOW_MS) is MERGE


@pytest.mark.parametrize(
    ("behavior", "chains", "on_restore", "on_purchase"),
    [
        (RestoreBehavior.TRANSFER, [RUNNING], TRANSFER, TRANSFER),
        (RestoreBehavior.TRANSFER, [LIFETIME], TRANSFER, TRANSFER),
        (RestoreBehavior.TRANSFER_IF_NO_ACTIVE, [RUNNING], REFUSE, REFUSE),
        (RestoreBehavior.TRANSFER_IF_NO_ACTIVE, [OVER], TRANSFER, TRANSFER),
        (RestoreBehavior.TRANSFER_IF_NO_ACTIVE, [LIFETIME], TRANSFER, TRANSFER),
        (RestoreBehavior.TRANSFER_IF_NO_ACTIVE, [LIFETIME, RUNNING], REFUSE, REFUSE),
        (RestoreBehavior.KEEP, [RUNNING], REFUSE, REFUSE),
        (RestoreBehavior.KEEP, [OVER], REFUSE, REFUSE),
        (RestoreBehavior.SHARE, [RUNNING], MERGE, REFUSE),
    ],
)
@pytest.mark.parametrize("poster", POSTERS, ids=["identified", "anonymous", "both"])
@pytest.mark.parametrize("owner", [IDENTIFIED, customer(1, ANON_A, "user1")], ids=["identified", "once anonymous"])
def test_purchase_of_an_identified_owner(
    owner: Customer,
    poster: Customer,
    behavior: RestoreBehavior,
    chains: list[Chain],
    on_restore: Ownership,
    on_purchase: Ownership,
) -> None:
    assert decide(owner, poster, chains, behavior=behavior, is_restore=True, now_ms=NOW_MS) is on_restore
    assert decide(owner, poster, chains, behavior=behavior, is_restore=False, now_ms=NOW_MS) is on_purchase


@pytest.mark.parametrize("behavior", RestoreBehavior)
def test_ones_own_purchase_stays(behavior: RestoreBehavior) -> None:
    assert decide(IDENTIFIED, IDENTIFIED, [RUNNING], behavior=behavior, is_restore=True, now_ms=NOW_MS) is KEEP


def test_no_active_mode_lets_the_purchase_move_from_the_moment_it_is_over() -> None:
    mode = RestoreBehavior.TRANSFER_IF_NO_ACTIVE
    poster = POSTERS[0]
    assert decide(IDENTIFIED, poster, [RUNNING], behavior=mode, is_restore=True, now_ms=1999) is REFUSE
    assert decide(IDENTIFIED, poster, [RUNNING], behavior=mode, is_restore=True, now_ms=2000) is TRANSFER
