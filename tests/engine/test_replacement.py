"""One Play purchase taking over from another (spec: stores 3.5, 11.6 R15)."""

import pytest
from msgspec.structs import replace

from bellwire.engine.access import NEVER_MS, access_until_ms
from bellwire.engine.emission import Context
from bellwire.engine.replacement import rekey, replaced
from bellwire.model.enums import Environment, PeriodType, ProductType, Store
from bellwire.model.facts import PeriodFact, Replacement, Snapshot
from bellwire.model.projects import DAY_MS, Catalogue, ProjectSettings
from bellwire.model.purchases import Chain, Period

NOW_MS = 1_767_225_600_000
OLD = Chain(
    id=1,
    project_id="p",
    app_id="a",
    store=Store.PLAY_STORE,
    environment=Environment.PRODUCTION,
    store_key="A",
    first_store_key="A",
    original_transaction_id="GPA.A",
    customer_id=1,
    product_type=ProductType.SUBSCRIPTION,
    periods=(
        Period(
            period_key="GPA.A",
            ordinal=1,
            product_id="pro",
            plan_id="monthly",
            period_type=PeriodType.NORMAL,
            purchased_at_ms=NOW_MS - 5 * DAY_MS,
            expires_at_ms=NOW_MS + 25 * DAY_MS,
            price_micros=1,
            currency="USD",
            price_usd_micros=1,
        ),
    ),
)
CONTEXT = Context(now_ms=NOW_MS, settings=ProjectSettings(), catalogue=Catalogue(), app=None)


def new(kind: Replacement, *, bought_ms: int = NOW_MS) -> Snapshot:
    return Snapshot(
        store=Store.PLAY_STORE,
        environment=Environment.PRODUCTION,
        store_key="B",
        original_transaction_id="GPA.B",
        product_type=ProductType.SUBSCRIPTION,
        as_of_ms=NOW_MS,
        periods=(
            PeriodFact(
                period_key="GPA.B",
                product_id="pro",
                plan_id="yearly",
                purchased_at_ms=bought_ms,
                expires_at_ms=NOW_MS + 365 * DAY_MS,
            ),
        ),
        replaces="A",
        replacement=kind,
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Replacement.IMMEDIATE, ["PRODUCT_CHANGE"]),
        (Replacement.TOP_UP, ["EXPIRATION"]),
        (Replacement.SAME_PRODUCT, []),
    ],
)
def test_what_the_old_purchase_tells(kind: Replacement, told: list[str]) -> None:
    detection = replaced(OLD, new(kind), CONTEXT)
    assert [str(emission.type) for emission in detection.emissions] == told
    assert all(emission.of_replaced and emission.dispatch for emission in detection.emissions)
    assert detection.after.superseded
    assert access_until_ms(detection.after) == NEVER_MS


@pytest.mark.parametrize("kind", Replacement)
def test_it_is_told_once(kind: Replacement) -> None:
    after = replaced(OLD, new(kind), CONTEXT).after
    again = replaced(after, new(kind), CONTEXT)
    assert again.emissions == ()
    assert again.after == after


def test_the_store_may_have_said_before_that_another_took_over() -> None:
    told = replaced(replace(OLD, superseded=True), new(Replacement.IMMEDIATE), CONTEXT)
    assert [str(emission.type) for emission in told.emissions] == ["PRODUCT_CHANGE"]


def test_a_prepaid_order_that_was_over_already_does_not_expire_again() -> None:
    over = replace(OLD, expired_event_for_period="GPA.A")
    assert replaced(over, new(Replacement.TOP_UP), CONTEXT).emissions == ()


def test_a_change_of_long_ago_is_kept_but_not_sent() -> None:
    late = new(Replacement.IMMEDIATE, bought_ms=NOW_MS - 8 * DAY_MS)
    assert [(item.dispatch, item.historical) for item in replaced(OLD, late, CONTEXT).emissions] == [(False, True)]


def test_a_payment_still_pending_is_replaced_in_silence() -> None:
    pending = replace(OLD, periods=(), pending=True)
    detection = replaced(pending, new(Replacement.IMMEDIATE), CONTEXT)
    assert detection.emissions == ()
    assert detection.after.superseded


def test_a_deferred_change_keeps_the_chain_its_periods_and_the_name_of_its_events() -> None:
    moved = rekey(OLD, new(Replacement.DEFERRED))
    assert (moved.store_key, moved.first_store_key, moved.replaces_key) == ("B", "A", "A")
    assert (moved.id, moved.periods, moved.superseded) == (OLD.id, OLD.periods, False)
