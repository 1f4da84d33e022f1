"""The fake on its own: the token server, Pub/Sub's retries, lifecycles on the calendar, the remote control."""

import base64
import json
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from bellwire.kit.clock import ManualClock
from bellwire.simulator.google import SCENARIOS, FakePlay
from bellwire.simulator.google.calendar import add_period, duration_ms, rfc3339
from bellwire.simulator.google.identity import ACCOUNT_EMAIL, GRANT_TYPE, SCOPE, Identity
from bellwire.simulator.google.records import PlayError
from bellwire.simulator.kernel import Kernel, Mode
from tests.support.play import DAY_MS, START_MS, PlayBench, on_bench

JAN_31 = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)


def _day(ms: int) -> str:
    return rfc3339(ms)[:10]


def _store(start_ms: int = START_MS, **options: Any) -> tuple[FakePlay, ManualClock]:
    clock = ManualClock(start_ms)
    return FakePlay(Kernel(clock), **options), clock


def _pass(play: FakePlay, clock: ManualClock, days: float) -> None:
    clock.advance_ms(int(days * DAY_MS))
    play.kernel.catch_up()


def _told(play: FakePlay) -> list[object]:
    """Types of the notifications so far; `voided` for those."""
    types: list[object] = []
    for line in play.kernel.log:
        notification = line.get("notification")
        if isinstance(notification, dict):
            member: Any = next(value for key, value in notification.items() if key.endswith("Notification"))
            types.append(member.get("notificationType", "voided"))
    return types


# -- the calendar


def test_months_are_counted_from_the_first_charge() -> None:
    play, clock = _store(JAN_31)
    token = play.purchase("pro:monthly")
    play.acknowledge(token)
    ends = []
    for _ in range(4):
        ends.append(_day(play.subscription(token).expiry_ms))
        _pass(play, clock, 31)
    assert ends == ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]


def test_periods() -> None:
    assert _day(add_period(JAN_31, "P1M")) == "2026-02-28"
    assert _day(add_period(JAN_31, "P1M", 2)) == "2026-03-31"
    assert _day(add_period(JAN_31, "P1Y")) == "2027-01-31"
    assert _day(add_period(JAN_31, "P1W2D")) == "2026-02-09"
    assert duration_ms("1.5s") == 1500
    for bad in ("", "P", "PT1H"):
        with pytest.raises(ValueError, match="not a billing period"):
            add_period(JAN_31, bad)
    with pytest.raises(ValueError, match="not a duration"):
        duration_ms("10")


# -- lifecycles


def test_grace_can_move_on_day_by_day() -> None:
    play, clock = _store(rolling_grace=True)
    token = play.purchase("pro:monthly")
    play.acknowledge(token)
    play.fail_payment(token, "grace")
    _pass(play, clock, 31)
    sub = play.subscription(token)
    first = sub.expiry_ms
    assert (sub.state, first) == ("IN_GRACE_PERIOD", sub.paid_until_ms + DAY_MS)
    _pass(play, clock, 1)
    assert sub.expiry_ms == first + DAY_MS
    _pass(play, clock, 6)
    assert sub.state == "ON_HOLD"
    assert _told(play) == [4, 6, 5]


def test_a_silent_grace_tells_nobody() -> None:
    play, clock = _store()
    token = play.purchase("pro:monthly")
    play.acknowledge(token)
    play.fail_payment(token, "silent")
    _pass(play, clock, 31)
    sub = play.subscription(token)
    assert (sub.state, sub.expiry_ms) == ("ACTIVE", sub.paid_until_ms + DAY_MS)
    assert _told(play) == [4]
    _pass(play, clock, 1)
    assert _told(play) == [4, 5]


def test_recovery_in_grace_keeps_the_billing_date_and_on_hold_begins_anew() -> None:
    play, clock = _store()
    kept, moved = play.purchase("pro:monthly"), play.purchase("pro:monthly")
    for token, way in ((kept, "grace"), (moved, "hold")):
        play.acknowledge(token)
        play.fail_payment(token, way)
    _pass(play, clock, 33)
    for token in (kept, moved):
        play.recover(token)
    assert _day(play.subscription(kept).expiry_ms) == "2026-03-01"
    assert _day(play.subscription(moved).expiry_ms) == "2026-03-03"


@pytest.mark.parametrize(
    ("mode", "price", "end"),
    [
        ("WITHOUT_PRORATION", 0, "2026-02-01"),
        ("CHARGE_PRORATED_PRICE", 3_380_000, "2026-02-01"),
        ("WITH_TIME_PRORATION", 0, "2026-01-21"),
        ("CHARGE_FULL_PRICE", 9_990_000, "2026-03-04"),
    ],
)
def test_plan_changes_cost_and_last_what_their_mode_says(mode: str, price: int, end: str) -> None:
    """21 of 31 days are left: worth 3.38 of 4.99, which is 10.5 days at 9.99; the rest at 9.99 costs 6.77."""
    play, clock = _store()
    old = play.purchase("basic:monthly")
    play.acknowledge(old)
    _pass(play, clock, 10)
    new = play.subscription(play.change_plan(old, "pro:monthly", mode))
    assert play.order(new.orders[0]).total_micros == price
    assert _day(new.expiry_ms) == end
    assert play.subscription(old).state == "EXPIRED"


def test_a_deferred_change_bills_the_new_plan_at_the_end() -> None:
    play, clock = _store()
    old = play.purchase("pro:monthly")
    new = play.subscription(play.change_plan(old, "basic:monthly", "DEFERRED"))
    play.acknowledge(new.token)
    assert new.base.plan.key == "pro:monthly"
    _pass(play, clock, 31)
    assert [item.plan.key for item in new.items] == ["basic:monthly"]
    assert play.order(new.base.order_id or "").total_micros == 4_990_000


def test_a_top_up_adds_a_period() -> None:
    play, clock = _store()
    old = play.purchase("prepaid:month")
    play.acknowledge(old)
    _pass(play, clock, 20)
    assert _day(play.subscription(play.top_up(old)).expiry_ms) == "2026-03-01"


def test_an_add_on_can_be_dropped_at_the_end() -> None:
    play, clock = _store()
    token = play.purchase("pro:monthly", add_ons=("extra:monthly",))
    play.acknowledge(token)
    with pytest.raises(PlayError):
        play.remove_add_on(token, "basic:monthly")
    play.remove_add_on(token, "extra:monthly")
    assert len(play.subscription(token).items) == 2
    _pass(play, clock, 31)
    assert play.order(play.subscription(token).orders[-1]).total_micros == 9_990_000


def test_an_add_on_pays_for_the_rest_of_the_period() -> None:
    play, clock = _store(tax_ppm=200_000, tax_inclusive=False)
    old = play.purchase("pro:monthly")
    play.acknowledge(old)
    _pass(play, clock, 5)
    new = play.subscription(play.add_on(old, "extra:monthly"))
    assert [item.replaced for item in new.items] == [("pro", "monthly", "KEEP_EXISTING"), None]
    assert _day(new.expiry_ms) == "2026-02-01"
    order = play.order(new.orders[0])
    assert [(line.price_micros, line.tax_micros) for line in order.lines] == [(0, 0), (2_500_000, 500_000)]
    assert order.total_micros == 3_000_000
    with pytest.raises(PlayError):
        play.add_on(new.token, "pro:yearly")


def test_a_bundle_has_the_shortest_grace_and_of_those_items_the_longest_hold() -> None:
    play, clock = _store()
    token = play.purchase("pro:monthly", add_ons=("extra:monthly",))
    play.acknowledge(token)
    play.fail_payment(token)
    _pass(play, clock, 33)
    assert play.subscription(token).state == "IN_GRACE_PERIOD"
    _pass(play, clock, 2)
    assert play.subscription(token).state == "ON_HOLD"
    _pass(play, clock, 43)
    assert play.subscription(token).state == "ON_HOLD"
    _pass(play, clock, 3)
    assert play.subscription(token).state == "EXPIRED"


def test_an_add_on_left_out_in_the_app_stays_until_the_end_under_a_new_token() -> None:
    play, clock = _store()
    old = play.purchase("pro:monthly", add_ons=("extra:monthly",))
    _pass(play, clock, 2)
    new = play.subscription(play.leave_out(old, "extra:monthly"))
    play.acknowledge(new.token)
    assert play.subscription(old).replaced
    assert {item.order_id for item in new.items} == set(play.subscription(old).orders)
    _pass(play, clock, 30)
    assert [item.plan.key for item in new.items] == ["pro:monthly"]


def test_installments_end_with_the_commitment() -> None:
    play, clock = _store()
    token = play.purchase("pro:installments")
    play.acknowledge(token)
    play.cancel(token)
    _pass(play, clock, 350)
    assert play.subscription(token).state == "ACTIVE"
    _pass(play, clock, 20)
    assert play.subscription(token).state == "EXPIRED"
    assert len(play.subscription(token).orders) == 12


def test_a_step_of_the_price() -> None:
    play, clock = _store()
    token = play.purchase("pro:monthly")
    play.acknowledge(token)
    play.step_up_price(token, 11_990_000)
    play.accept_price(token)
    _pass(play, clock, 31)
    assert play.order(play.subscription(token).orders[-1]).total_micros == 11_990_000
    assert _told(play) == [4, 22, 22, 2]
    with pytest.raises(PlayError):
        play.accept_price(token)


def test_impossible_actions_are_refused() -> None:
    play, _ = _store()
    token = play.purchase("pro:monthly")
    for refused in (
        lambda: play.resume(token),
        lambda: play.restart(token),
        lambda: play.complete_pending(token),
        lambda: play.sign_up_again(token),
        lambda: play.top_up(token),
        lambda: play.change_plan(token, "basic:monthly", "SOMEHOW"),
        lambda: play.change_plan(token, "nothing"),
        lambda: play.subscription("nothing"),
        lambda: play.buy("nothing"),
        lambda: play.refund_product("nothing"),
    ):
        with pytest.raises(PlayError):
            refused()
    play.revoke(token)
    with pytest.raises(PlayError):
        play.revoke(token)


def test_tax_is_inside_or_on_top() -> None:
    inside, _ = _store(region="GB", tax_ppm=200_000)
    order = inside.order(inside.subscription(inside.purchase("pro:monthly")).orders[0])
    assert (order.total_micros, order.tax_micros) == (9_990_000, 1_665_000)
    on_top, _ = _store(tax_ppm=100_000, tax_inclusive=False)
    order = on_top.order(on_top.subscription(on_top.purchase("pro:monthly")).orders[0])
    assert (order.total_micros, order.tax_micros) == (10_989_000, 999_000)


def test_the_same_seed_makes_the_same_tokens() -> None:
    assert _store()[0].purchase("pro:monthly") == _store()[0].purchase("pro:monthly")


# -- the token server


def _assertion(play: FakePlay, key: Any = None, algorithm: str = "RS256", **changes: object) -> str:
    info = json.loads(play.identity.service_account_json(play.token_uri))
    now = int(time.time())
    claims = {"iss": ACCOUNT_EMAIL, "scope": SCOPE, "aud": play.token_uri, "iat": now, "exp": now + 3600} | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key or info["private_key"], algorithm=algorithm)


async def _ask_token(bench: PlayBench, **form: str) -> tuple[int | None, dict[str, Any]]:
    answer = await bench.client.request("POST", bench.play.token_uri, body=urlencode(form).encode())
    return answer.status, json.loads(answer.body)


def test_the_token_server_is_strict() -> None:
    async def tell(bench: PlayBench) -> None:
        play, now = bench.play, int(time.time())
        good = _assertion(play)
        status, body = await _ask_token(bench, grant_type=GRANT_TYPE, assertion=good)
        assert status == 200
        assert body["token_type"] == "Bearer"
        assert play.identity.accepts(f"Bearer {body['access_token']}")
        foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        for bad in (
            _assertion(play, foreign),
            _assertion(play, "s" * 32, "HS256"),
            _assertion(play, iss="somebody@else"),
            _assertion(play, aud="https://elsewhere.example/token"),
            _assertion(play, iat=now - 7200, exp=now - 3600),
            _assertion(play, exp=now + 7200),
            _assertion(play, scope=None),
            "nonsense",
            "",
        ):
            status, body = await _ask_token(bench, grant_type=GRANT_TYPE, assertion=bad)
            assert (status, body["error"]) == (400, "invalid_grant")
        status, body = await _ask_token(bench, grant_type=GRANT_TYPE, assertion=_assertion(play, scope="other"))
        assert (status, body["error"]) == (400, "invalid_scope")
        status, body = await _ask_token(bench, grant_type="password", assertion=good)
        assert (status, body["error"]) == (400, "unsupported_grant_type")

    on_bench(tell)


@pytest.mark.parametrize("authorization", ["", "Bearer made-up", "Basic x"])
def test_the_api_wants_a_token(authorization: str) -> None:
    async def tell(bench: PlayBench) -> None:
        url = f"{bench.play.base_url}/androidpublisher/v3/applications/com.example.app/purchases/voidedpurchases"
        answer = await bench.client.request("GET", url, headers={"authorization": authorization})
        assert answer.status == 401
        assert json.loads(answer.body)["error"]["code"] == 401

    on_bench(tell)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("com.example.other/purchases/voidedpurchases", 404),
        ("com.example.app/purchases/voidedpurchases?nonsense=1", 400),
        ("com.example.app/purchases/voidedpurchases?maxResults=x", 400),
        ("com.example.app/purchases/voidedpurchases?maxResults=1001", 400),
        ("com.example.app/purchases/voidedpurchases?startTime=0", 400),
        ("com.example.app/purchases/voidedpurchases?token=x", 400),
        ("com.example.app/orders:batchGet", 400),
        ("com.example.app/orders/GPA.0", 404),
        ("com.example.app/subscriptions/nothing", 404),
        ("com.example.app/purchases/subscriptions/pro/tokens/x", 404),
    ],
)
def test_wrong_requests_are_refused(path: str, status: int) -> None:
    async def tell(bench: PlayBench) -> None:
        _, grant = await _ask_token(bench, grant_type=GRANT_TYPE, assertion=_assertion(bench.play))
        answer = await bench.client.request(
            "GET",
            f"{bench.play.base_url}/androidpublisher/v3/applications/{path}",
            headers={"authorization": f"Bearer {grant['access_token']}"},
        )
        assert answer.status == status

    on_bench(tell)


# -- Pub/Sub


def test_pushes_are_signed_and_carry_the_notification() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")
        await bench.kernel.flush()
        headers, raw = bench.pushes[0]
        claims = jwt.decode(headers["authorization"].removeprefix("Bearer "), options={"verify_signature": False})
        assert claims["aud"] == bench.play.pusher.audience
        assert claims["exp"] > time.time()
        message = json.loads(raw)["message"]
        assert message["messageId"] == message["message_id"]
        notification = json.loads(base64.b64decode(message["data"]))
        assert notification["packageName"] == "com.example.app"
        assert notification["eventTimeMillis"] == str(START_MS)
        assert notification["subscriptionNotification"]["purchaseToken"] == token

    on_bench(tell)


def test_nacked_pushes_come_again_with_backoff_until_acknowledged() -> None:
    async def tell(bench: PlayBench) -> None:
        bench.push_status = 500
        bench.play.send_test_notification()
        await bench.kernel.flush()
        assert len(bench.pushes) == 1
        await bench.advance(1 / 24)
        tries = [attempt.at_ms - START_MS for attempt in bench.kernel.notifier.history[0].attempts]
        assert tries[:6] == [0, 10_000, 30_000, 70_000, 150_000, 310_000]
        waits = [later - earlier for earlier, later in pairwise(tries)]
        assert max(waits) == 600_000
        assert len({raw for _, raw in bench.pushes}) == 1
        bench.push_status = 204
        await bench.advance(1 / 24)
        count = len(bench.pushes)
        await bench.advance(1)
        assert len(bench.pushes) == count
        assert bench.kernel.notifier.history[0].delivered

    on_bench(tell)


def test_pushes_can_be_lost_and_doubled() -> None:
    async def tell(bench: PlayBench) -> None:
        for mode, copies in ((Mode.DROP, 0), (Mode.DUPLICATE, 2), (Mode.NORMAL, 1)):
            bench.pushes.clear()
            bench.kernel.notifier.set_mode(mode)
            bench.play.send_test_notification()
            await bench.kernel.flush()
            assert len(bench.pushes) == copies

    on_bench(tell)


# -- the remote control


def test_the_remote_control() -> None:
    async def tell(bench: PlayBench) -> None:
        async def post(path: str, **body: object) -> tuple[int, Any]:
            async with session.post(f"{bench.play.base_url}/_control/{path}", json=body) as answer:
                return answer.status, await answer.json()

        async with aiohttp.ClientSession() as session:
            status, body = await post("google/purchase", product_id="pro:monthly", options={"trial": True})
            assert status == 200
            key = body["store_key"]
            assert (await post("google/action", store_key=key, action="cancel"))[0] == 200
            assert (await post("clock", advance_ms=8 * DAY_MS))[0] == 200
            assert bench.play.subscription(key).state == "EXPIRED"
            status, body = await post("google/action", store_key=key, action="resubscribe")
            assert body["result"] in bench.play.subscriptions
            assert (await post("google/purchase", product_id="coins_100", options={"quantity": 2}))[0] == 200
            assert (await post("google/purchase", product_id="nothing"))[0] == 404
            assert (await post("google/purchase", product_id="pro:monthly", options={"x": 1}))[0] == 400
            assert (await post("google/action", store_key=key, action="__init__"))[0] == 400
            assert (await post("google/action", store_key=key, action="restart"))[0] == 400
            assert (await post("google/scenario/nothing"))[0] == 400
            status, body = await post("google/scenario/trial_cancelled")
            assert body["expected"] == list(SCENARIOS["trial_cancelled"].expected)
            assert (await post("clock", advance_ms=9 * DAY_MS))[0] == 200
            assert _told(bench.play).count(3) == 2
        await bench.kernel.flush()

    on_bench(tell)


def test_a_refund_review_and_rotated_keys() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.purchase("pro:monthly")
        bench.play.ask_refund_review(bench.play.subscription(token).orders[0])
        await bench.kernel.flush()
        notification = json.loads(base64.b64decode(json.loads(bench.pushes[-1][1])["message"]["data"]))
        assert notification["pendingRefundReviewNotification"]["refundReason"] == 7

    on_bench(tell)
    identity = Identity()
    identity.push_token("a")
    identity.rotate_push_key()
    keys = identity.jwks()["keys"]
    assert isinstance(keys, list)
    assert len(keys) == 2
