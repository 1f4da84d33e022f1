"""The fake App Store lives by the calendar, remembers, and can be steered from outside."""

from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from starlette.applications import Starlette

from bellwire.kit.clock import ManualClock
from bellwire.simulator.apple import SCENARIOS, FakeAppStore
from bellwire.simulator.apple.calendar import add_period
from bellwire.simulator.apple.certificates import Authority
from bellwire.simulator.kernel import Kernel
from bellwire.simulator.notifier import Mode
from tests.support.threaded import ask, serving

DAY_MS = 86_400_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def make_store(start: str = "2026-01-31") -> FakeAppStore:
    kernel = Kernel(ManualClock(at(start)))
    kernel.notifier.set_mode(Mode.DROP)
    store = FakeAppStore(kernel)
    store.notification_url = "http://127.0.0.1:1/"
    return store


def live_until(store: FakeAppStore, day: str) -> None:
    store.kernel.clock.advance_ms(at(day) - store.kernel.now_ms)
    store.kernel.catch_up()


def dates(store: FakeAppStore, key: str) -> list[str]:
    starts = (item.purchased_ms for item in store.subscriptions[key].transactions)
    return [datetime.fromtimestamp(start // 1000, UTC).date().isoformat() for start in starts]


@pytest.mark.parametrize(
    ("start", "period", "end"),
    [
        ("2026-01-31", "P1M", "2026-02-28"),
        ("2024-01-31", "P1M", "2024-02-29"),
        ("2026-02-28", "P1W", "2026-03-07"),
        ("2026-11-30", "P3M", "2027-02-28"),
        ("2024-02-29", "P1Y", "2025-02-28"),
        ("2026-01-01", "P3D", "2026-01-04"),
    ],
)
def test_periods_on_the_calendar(start: str, period: str, end: str) -> None:
    assert add_period(at(start) + 7, period) == at(end) + 7


def test_renewals_find_back_to_the_day_of_the_month() -> None:
    store = make_store()
    key = store.purchase("pro_monthly")
    live_until(store, "2026-05-15")
    assert dates(store, key) == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]


def test_a_trial_sets_the_day_of_the_month() -> None:
    store = make_store("2026-01-01")
    key = store.purchase("pro_monthly", trial=True)
    live_until(store, "2026-04-01")
    assert dates(store, key) == ["2026-01-01", "2026-01-08", "2026-02-08", "2026-03-08"]


def test_grace_keeps_the_cycle_and_retry_starts_a_new_one() -> None:
    for grace, expected in ((True, "2026-02-10"), (False, "2026-02-15")):
        store = make_store("2026-01-10")
        key = store.purchase("pro_monthly")
        store.fail_payment(key, grace=grace)
        live_until(store, "2026-02-15")
        store.recover(key)
        assert dates(store, key)[-1] == expected


def test_a_refund_stops_the_clockwork_and_its_reversal_starts_it_again() -> None:
    store = make_store("2026-01-10")
    key = store.purchase("pro_monthly")
    store.refund(key)
    store.reverse_refund(key)
    live_until(store, "2026-02-11")
    assert len(dates(store, key)) == 2
    store.refund(key)
    live_until(store, "2026-06-11")
    store.reverse_refund(key)
    assert len(dates(store, key)) == 2


def test_ids_are_not_handed_out_twice_after_a_restart() -> None:
    early, late = make_store("2026-01-01"), make_store("2026-01-02")
    assert int(late.purchase("lifetime")) > int(early.purchase("lifetime"))


def test_a_restarted_simulator_is_still_trusted() -> None:
    first, second = Authority(seed=7), Authority(seed=7)
    second.leaf.verify_directly_issued_by(first.intermediate)
    second.intermediate.verify_directly_issued_by(first.root)


def test_notifications_of_production_are_retried_as_apple_does() -> None:
    store = make_store()
    store.purchase("lifetime")
    store.purchase("lifetime", environment="Sandbox")
    production, sandbox = (item.sent.message.retry_delays_s for item in store.mailer.memory)
    assert production == tuple(hours * 3600.0 for hours in (1, 12, 24, 48, 72))
    assert sandbox == ()


def test_without_an_address_nothing_is_sent() -> None:
    store = make_store()
    store.notification_url = ""
    store.purchase("lifetime")
    assert store.mailer.memory == []


def test_offers_that_a_product_does_not_have() -> None:
    with pytest.raises(ValueError, match="no such offer"):
        make_store().purchase("basic_monthly", trial=True)


def test_remote_control() -> None:
    store = make_store()
    with serving(Starlette(routes=store.routes())) as port:

        def post(path: str, body: str = "{}") -> tuple[int, Any]:
            answer = ask(port, "POST", f"/_control/apple/{path}", body=body.encode())
            return answer.status, answer.json()

        status, bought = post("purchase", '{"product_id":"pro_monthly","trial":true}')
        assert status == 200
        key = bought["store_key"]
        claims = jwt.decode(bought["signed_transaction"], options={"verify_signature": False})
        assert claims["offerDiscountType"] == "FREE_TRIAL"
        assert post("action", f'{{"action":"cancel","store_key":"{key}"}}') == (200, {"result": None})
        assert store.subscriptions[key].auto_renew is False
        assert post("action", f'{{"action":"extend","store_key":"{key}","days":3}}')[0] == 200
        assert post("action", f'{{"action":"extend","store_key":"{key}"}}')[0] == 400
        assert post("action", '{"action":"cancel","store_key":"1"}')[0] == 400
        assert post("action", '{"action":"__init__","store_key":"1"}')[0] == 400
        assert post("purchase", '{"product_id":"nothing"}')[0] == 400
        assert post("scenario/sandbox") == (
            200,
            {"name": "sandbox", "expected": list(SCENARIOS["sandbox"].expected)},
        )
        assert post("scenario/none")[0] == 400
        shown = ask(port, "GET", f"/_control/apple/signed_transaction/{key}")
        assert shown.status == 200
