"""Properties of change detection (spec: stores 13.3 a-g) over lives that a model of a store makes up.

`BELLWIRE_EXAMPLES` sets how many lives are tried; the default keeps the suite quick and always tries the same ones.
"""

import os
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from bellwire.engine.access import chain_state, has_access
from bellwire.engine.money import Rates
from bellwire.model.enums import CancelReason, EventType
from bellwire.model.events import EventRecord
from bellwire.model.facts import Snapshot
from bellwire.model.purchases import Chain
from tests.support.model_store import DAY_MS, ModelStore
from tests.support.story import START_MS, World
from tests.support.wire_rules import check_stream

EXAMPLES = os.environ.get("BELLWIRE_EXAMPLES")
lives_of = settings(
    max_examples=int(EXAMPLES or 150), derandomize=EXAMPLES is None, deadline=None, database=None, print_blob=True
)
RATES = Rates({"EUR": [(START_MS + day * DAY_MS, 1_083_517 + 977 * day) for day in range(-10, 900, 5)]})
Delivery = tuple[ModelStore, list[int]]
PURCHASES = {EventType.INITIAL_PURCHASE, EventType.RENEWAL, EventType.NON_RENEWING_PURCHASE}


@st.composite
def lives(draw: st.DrawFn) -> ModelStore:
    """A store's books after up to twelve turns."""
    one_time = draw(st.integers(0, 9)) == 0
    store = ModelStore(
        START_MS,
        trial=not one_time and draw(st.booleans()),
        one_time=one_time,
        price_micros=draw(st.sampled_from([9_990_000, 1_000_000, 333_333])),
        currency=draw(st.sampled_from(["USD", "EUR", "XXX"])),
    )
    store.live(draw(st.lists(st.integers(0, 59), max_size=12)))
    return store


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    """A life, and the numbers of its messages in any order, some of them more than once."""
    store = draw(lives())
    numbers = range(len(store.told))
    again = draw(st.lists(st.sampled_from(numbers), max_size=4))
    return store, draw(st.permutations([*numbers, *again]))


def delivered(delivery: Delivery) -> tuple[ModelStore, list[Snapshot]]:
    store, order = delivery
    return store, [store.told[number] for number in order]


def hear(messages: Sequence[Snapshot]) -> World:
    """A hub that takes messages as they come, each soon after the newest so far."""
    world = World(rates=RATES)
    now_ms = 0
    for snapshot in messages:
        now_ms = max(now_ms + 1, snapshot.as_of_ms)
        world.apply(snapshot, now_ms)
    return world


def is_refund(record: EventRecord) -> bool:
    return record.event.cancel_reason is CancelReason.CUSTOMER_SUPPORT


def lasting(world: World) -> set[str]:
    """Ids of what can never be untrue again: purchases and refunds."""
    return {record.event.id for record in world.records if record.event.type in PURCHASES or is_refund(record)}


def outcome(chain: Chain, now_ms: int) -> object:
    """What a customer, a chart or a support person sees of a chain; not when the hub happened to notice."""
    periods = [
        (
            period.period_key,
            period.ordinal,
            period.product_id,
            period.period_type,
            period.purchased_at_ms,
            period.expires_at_ms,
            period.price_micros,
            period.price_usd_micros,
            period.refunded_at_ms,
            period.is_trial_conversion,
        )
        for period in chain.periods
    ]
    flags = (
        chain.auto_renew,
        chain.auto_renew_product_id,
        chain.billing_issue_at_ms is None,
        chain.grace_expires_at_ms,
        chain.paused,
        chain.pause_scheduled,
        chain.price_consent,
    )
    access = [(chain_state(chain, at), has_access(chain, at)) for at in (now_ms, now_ms + 40 * DAY_MS)]
    return periods, flags, access


@given(lives(), st.integers(2, 4))
@lives_of
def test_a_the_same_statement_any_number_of_times_is_told_once(store: ModelStore, times: int) -> None:
    once = hear([*store.told, store.history()])
    often = hear([snapshot for snapshot in [*store.told, store.history()] for _ in range(times)])
    assert [record.event.id for record in often.records] == [record.event.id for record in once.records]


@given(deliveries())
@lives_of
def test_b_any_order_ends_alike_once_the_store_was_asked(delivery: Delivery) -> None:
    store, shuffled = delivered(delivery)
    final = store.history()
    in_order, as_delivered = hear([*store.told, final]), hear([*shuffled, final])
    now_ms = final.as_of_ms
    assert outcome(as_delivered.chain("P1"), now_ms) == outcome(in_order.chain("P1"), now_ms)
    assert lasting(as_delivered) == lasting(in_order)


@given(deliveries())
@lives_of
def test_b_the_store_asked_after_every_message(delivery: Delivery) -> None:
    """Doorbells: the pull behind the first one tells everything; of the rest only a refund taken back is news."""
    store, shuffled = delivered(delivery)
    final = store.history()
    world = hear([final, *shuffled, final])
    purchases = [record for record in world.records if record.event.type in PURCHASES]
    assert sorted(str(record.event.transaction_id) for record in purchases) == sorted(
        period.period_key for period in store.periods
    )
    late = [record for record in world.records[len(hear([final]).records) :] if record.dispatch]
    assert all(is_refund(record) or record.event.type is EventType.REFUND_REVERSED for record in late)


@given(lives())
@lives_of
def test_c_one_expiration_a_period_and_one_billing_issue_an_outage(store: ModelStore) -> None:
    world = hear([*store.told, store.history()])
    ends = Counter(str(r.event.transaction_id) for r in world.records if r.event.type is EventType.EXPIRATION)
    reversals = Counter(str(r.event.transaction_id) for r in world.records if r.event.type is EventType.REFUND_REVERSED)
    assert all(count <= 1 + reversals[key] for key, count in ends.items())
    issues = [r for r in world.records if r.event.type is EventType.BILLING_ISSUE]
    outages = sum(
        now.billing_issue is True and before.billing_issue is not True
        for before, now in zip(store.told, store.told[1:], strict=False)
    )
    assert len(issues) == outages


@given(deliveries())
@lives_of
def test_d_every_expiration_ends_an_access(delivery: Delivery) -> None:
    store, shuffled = delivered(delivery)
    world = World(rates=RATES)
    now_ms = 0
    for snapshot in [*shuffled, store.history()]:
        before = world.chain("P1") if "P1" in world.keys else None
        now_ms = max(now_ms + 1, snapshot.as_of_ms)
        for record in world.apply(snapshot, now_ms):
            if record.event.type is EventType.EXPIRATION and before is not None and before.latest is not None:
                same = before.latest.period_key == record.event.transaction_id
                assert not same or has_access(before, before.as_of_ms)


@given(deliveries())
@lives_of
def test_e_money_of_a_refunded_period_nets_to_nothing(delivery: Delivery) -> None:
    store, shuffled = delivered(delivery)
    world = hear([*shuffled, store.history()])
    for period in world.chain("P1").periods:
        moved = [r.price_usd_micros for r in world.records if r.event.transaction_id == period.period_key]
        if period.price_usd_micros is None:
            assert period.currency == "XXX"
            continue
        expected = 0 if period.refunded_at_ms is not None else period.price_usd_micros
        assert sum(amount or 0 for amount in moved) == expected


@given(deliveries())
@lives_of
def test_f_renewal_numbers_count(delivery: Delivery) -> None:
    store, shuffled = delivered(delivery)
    if not store.one_time:
        in_order = hear(store.told)
        numbers = [record.event.renewal_number for record in in_order.records if record.event.type in PURCHASES]
        assert numbers == list(range(1, len(store.periods) + 1))
    world = hear([*shuffled, store.history()])
    assert [period.ordinal for period in world.chain("P1").periods] == list(range(1, len(store.periods) + 1))


@given(deliveries())
@lives_of
def test_g_every_event_is_well_formed_and_no_amount_has_the_wrong_sign(
    delivery: Delivery,
) -> None:
    store, shuffled = delivered(delivery)
    check_stream(hear([*store.told, store.history()]).records)
    check_stream(hear([*shuffled, store.history()]).records)
