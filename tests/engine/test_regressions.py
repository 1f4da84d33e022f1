"""What once was wrong in change detection, each test named after it."""

from msgspec.structs import replace

from bellwire.engine.checks import MINUTE_MS, next_check_ms
from bellwire.model.enums import Environment, ExpirationReason, ProductType, Store
from bellwire.model.events import EventRecord
from bellwire.model.facts import PeriodFact, Replacement, Snapshot
from tests.support.story import START_MS, World, moment_ms

DAY_MS = 86_400_000


def fact(key: str, start: float, end: float, **fields: object) -> PeriodFact:
    base = PeriodFact(
        period_key=key,
        product_id="monthly",
        purchased_at_ms=moment_ms(start),
        expires_at_ms=moment_ms(end),
        price_micros=10_000_000,
        currency="USD",
    )
    return replace(base, **fields)


def says(at: float, *periods: PeriodFact, **fields: object) -> Snapshot:
    base = Snapshot(
        store=Store.APP_STORE,
        environment=Environment.PRODUCTION,
        store_key="c1",
        original_transaction_id="P1",
        product_type=ProductType.SUBSCRIPTION,
        as_of_ms=moment_ms(at),
        periods=periods,
        auto_renew=True,
        billing_issue=False,
        ended=False,
    )
    return replace(base, **fields)


def sent(records: list[EventRecord]) -> list[str]:
    return [record.event.type for record in records if record.dispatch]


def test_refund_of_a_chain_first_seen_as_history_is_sent() -> None:
    world = World()
    world.apply(says(70, fact("P1", 0, 30), fact("P2", 30, 60), fact("P3", 60, 90)), moment_ms(70))
    refunded = fact("P3", 60, 90, refunded_at_ms=moment_ms(75))
    assert sent(world.apply(says(75, refunded, ended=True), moment_ms(75))) == ["CANCELLATION", "EXPIRATION"]


def test_resubscription_told_by_a_bare_transaction_is_not_a_cancellation() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30)), moment_ms(0))
    world.apply(says(10, fact("P1", 0, 30), auto_renew=False), moment_ms(10))
    world.apply(says(30, fact("P1", 0, 30), auto_renew=False, ended=True), moment_ms(30))
    bare = Snapshot(
        store=Store.APP_STORE,
        environment=Environment.PRODUCTION,
        store_key="c1",
        original_transaction_id="P1",
        product_type=ProductType.SUBSCRIPTION,
        as_of_ms=moment_ms(50),
        periods=(fact("P2", 50, 80),),
    )
    assert sent(world.apply(bare, moment_ms(50))) == ["RENEWAL"]
    assert world.chain("c1").auto_renew is None
    assert sent(world.apply(says(51, fact("P2", 50, 80)), moment_ms(51))) == []


def test_resubscription_cancelled_again_before_it_was_seen_is_a_cancellation() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30)), moment_ms(0))
    world.apply(says(10, fact("P1", 0, 30), auto_renew=False), moment_ms(10))
    assert sent(world.apply(says(52, fact("P2", 50, 80), auto_renew=False), moment_ms(52))) == [
        "RENEWAL",
        "CANCELLATION",
    ]


def test_price_told_later_is_kept() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30, price_micros=None, currency=None)), moment_ms(0))
    assert sent(world.apply(says(1, fact("P1", 0, 30)), moment_ms(1))) == []
    latest = world.chain("c1").periods[0]
    assert (latest.price_micros, latest.price_usd_micros, latest.currency) == (10_000_000, 10_000_000, "USD")


def test_renewal_numbers_told_by_the_store_survive_late_history() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30, ordinal=1)), moment_ms(0))
    world.apply(says(90, fact("P4", 90, 120, ordinal=4)), moment_ms(90))
    world.apply(says(91, fact("P2", 30, 60, ordinal=2), fact("P4", 90, 120, ordinal=4)), moment_ms(91))
    assert [(period.period_key, period.ordinal) for period in world.chain("c1").periods] == [
        ("P1", 1),
        ("P2", 2),
        ("P4", 4),
    ]


def test_replacement_said_by_an_older_message_counts() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30)), moment_ms(0))
    world.apply(says(12, fact("P1", 0, 30)), moment_ms(12))
    world.apply(says(11, fact("P1", 0, 30), auto_renew=False, replaced_by_other=True), moment_ms(13))
    assert world.chain("c1").superseded
    assert sent(world.apply(says(31, fact("P1", 0, 30), auto_renew=False, ended=True), moment_ms(31))) == []


def test_replaced_chain_tells_its_change_once() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30)), moment_ms(0))
    takeover = says(
        10, fact("Q1", 10, 40, product_id="yearly"), store_key="c2", replaces="c1", replacement=Replacement.IMMEDIATE
    )
    assert sent(world.apply(takeover, moment_ms(10))) == ["PRODUCT_CHANGE", "INITIAL_PURCHASE"]
    later = replace(takeover, as_of_ms=moment_ms(11))
    assert sent(world.apply(later, moment_ms(11))) == []


def test_revocation_after_a_refund_that_left_access() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30)), moment_ms(0))
    kept = fact("P1", 0, 30, refunded_at_ms=moment_ms(5), refund_revokes=False)
    assert sent(world.apply(says(5, kept), moment_ms(5))) == ["CANCELLATION"]
    gone = fact("P1", 0, 30, refunded_at_ms=moment_ms(5))
    records = world.apply(says(6, gone, ended=True), moment_ms(6))
    assert sent(records) == ["EXPIRATION"]
    assert records[0].event.expiration_reason is ExpirationReason.CUSTOMER_SUPPORT


def test_refund_after_the_end_does_not_lengthen_access() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30)), moment_ms(0))
    world.apply(says(30, fact("P1", 0, 30), auto_renew=False, ended=True), moment_ms(30))
    world.apply(says(40, fact("P1", 0, 30, refunded_at_ms=moment_ms(39)), ended=True), moment_ms(40))
    assert world.entitlements(moment_ms(38)) == frozenset()


def test_sandbox_renewal_seen_alone_is_a_renewal() -> None:
    world = World()
    renewed = says(
        0.01, fact("P2", 0.0035, 0.007), environment=Environment.SANDBOX, started_at_ms=START_MS, ended=False
    )
    records = world.apply(replace(renewed, as_of_ms=moment_ms(0.004)), moment_ms(0.004))
    assert [(record.event.type, record.event.renewal_number) for record in records] == [("RENEWAL", 2)]


def test_store_that_numbers_periods_is_believed_about_the_first() -> None:
    world = World()
    first = says(1, fact("P1", 0.5, 30.5, ordinal=1), started_at_ms=START_MS)
    assert sent(world.apply(first, moment_ms(1))) == ["INITIAL_PURCHASE"]


def test_expiration_is_dated_when_access_ended_not_when_it_was_noticed() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30)), moment_ms(0))
    records = world.apply(says(31, fact("P1", 0, 30), auto_renew=False, ended=True), moment_ms(31))
    ends = [record.store_time_ms for record in records if record.event.type == "EXPIRATION"]
    assert ends == [moment_ms(30)]


def test_end_of_a_second_period_is_looked_for_at_once() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30)), moment_ms(0))
    world.apply(says(30, fact("P1", 0, 30), auto_renew=False, ended=True), moment_ms(30))
    world.apply(says(50, fact("P2", 50, 80)), moment_ms(50))
    now_ms = moment_ms(80) + 2 * MINUTE_MS
    assert next_check_ms(world.chain("c1"), now_ms) == now_ms + MINUTE_MS


def test_refund_heard_of_after_it_was_taken_back_changes_nothing_but_is_told() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30, refunded_at_ms=None)), moment_ms(0))
    world.apply(says(15, fact("P1", 0, 30, refunded_at_ms=None)), moment_ms(15))
    late = says(12, fact("P1", 0, 30, refunded_at_ms=moment_ms(12)), ended=True)
    records = world.apply(late, moment_ms(16))
    assert [(record.event.type, record.event.price) for record in records] == [
        ("CANCELLATION", -10.0),
        ("REFUND_REVERSED", 10.0),
    ]
    assert world.entitlements(moment_ms(17)) == {"pro"}
    assert world.apply(late, moment_ms(17)) == []


def test_earlier_renewals_of_a_chain_seen_in_its_middle_are_renewals() -> None:
    world = World()
    for at, key, start in ((60, "P3", 60), (61, "P2", 30), (62, "P1", 0)):
        told = says(60, fact(key, start, start + 30), started_at_ms=START_MS)
        world.apply(told, moment_ms(at))
    assert [(record.event.type, record.event.transaction_id) for record in world.records] == [
        ("RENEWAL", "P3"),
        ("RENEWAL", "P2"),
        ("INITIAL_PURCHASE", "P1"),
    ]
    assert [period.ordinal for period in world.chain("c1").periods] == [1, 2, 3]


def test_live_purchase_tells_what_was_announced_before_it_was_seen() -> None:
    world = World()
    first = says(0.5, fact("P1", 0, 30), auto_renew_product_id="silver", pause_scheduled=True)
    assert sent(world.apply(first, moment_ms(0.5))) == ["PRODUCT_CHANGE", "INITIAL_PURCHASE", "SUBSCRIPTION_PAUSED"]


def test_deferred_change_whose_old_token_speaks_first_goes_on() -> None:
    world = World()
    world.apply(says(0, fact("P1", 0, 30, product_id="gold")), moment_ms(0))
    gave_way = says(10, fact("P1", 0, 30, product_id="gold"), auto_renew=False, replaced_by_other=True)
    assert sent(world.apply(gave_way, moment_ms(10))) == []
    moved = says(
        10,
        fact("P1", 0, 30, product_id="gold"),
        store_key="c2",
        replaces="c1",
        replacement=Replacement.DEFERRED,
        auto_renew_product_id="silver",
    )
    assert sent(world.apply(moved, moment_ms(10))) == ["PRODUCT_CHANGE"]
    assert world.entitlements(moment_ms(11)) == {"pro"}
    renewed = says(30, fact("P2", 30, 60, product_id="silver"), store_key="c2")
    assert sent(world.apply(renewed, moment_ms(30))) == ["RENEWAL"]
    assert sent(world.apply(gave_way, moment_ms(31))) == []


def test_a_pending_purchase_that_completes_is_named_after_its_first_order() -> None:
    """Its events said the purchase token where the order id belongs."""
    world = World()
    world.apply(says(0, original_transaction_id="token", pending=True), moment_ms(0))
    (record,) = world.apply(says(1, fact("GPA.1", 1, 31), original_transaction_id="GPA.1"), moment_ms(1))
    assert record.event.original_transaction_id == "GPA.1"
    assert world.chain("c1").original_transaction_id == "GPA.1"
    world.apply(says(31, fact("GPA.1..0", 31, 61), original_transaction_id="other"), moment_ms(31))
    assert world.chain("c1").original_transaction_id == "GPA.1"
