"""Customers who live on the virtual clock: the same seed, the same lives; every kind of turn happens."""

import asyncio
from collections import Counter

import pytest

from bellwire.kit.clock import ManualClock
from bellwire.simulator.people import Platform
from bellwire.simulator.phone import Call, Carrier
from bellwire.simulator.world import World

START_MS = 1_790_000_000_000
STEP_MS = 6 * 3_600_000
KEYS = {Platform.IOS: "appl_test", Platform.ANDROID: "goog_test"}


class Recorder(Carrier):
    """A carrier whose hub answers 200 to everything."""

    def __init__(self) -> None:
        super().__init__(hub_url="", public_keys=KEYS)
        self.calls: list[Call] = []

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    async def send(self, call: Call) -> int:
        self.calls.append(call)
        return 200


def live(days: int, *, seed: int, customers: int = 150) -> tuple[Counter[str], list[Call], list[object]]:
    """What a shop's customers did, said, and what the stores wrote down."""

    async def main() -> tuple[Counter[str], list[Call], list[object]]:
        clock = ManualClock(START_MS)
        world = World(clock, base_url="http://unused.invalid", seed=seed)
        recorder = Recorder()
        shop = world.open_shop("", KEYS, customers=customers, carrier=recorder)
        for _ in range(days * 86_400_000 // STEP_MS):
            clock.advance_ms(STEP_MS)
            world.kernel.catch_up()
            await asyncio.sleep(0)
        for customer in shop.customers:
            await customer.phone.quiet()
        did = [(line["at_ms"], line["what"], line.get("customer")) for line in world.kernel.log]
        return shop.actions, recorder.calls, [line for line in did if str(line[1]).startswith("shop.")]

    return asyncio.run(main())


def test_same_seed_same_lives() -> None:
    first, second, other = live(60, seed=7), live(60, seed=7), live(60, seed=8)
    assert first[0] == second[0]
    assert first[2] == second[2]
    assert first[2] != other[2]


@pytest.fixture(scope="module")
def half_a_year() -> tuple[Counter[str], list[Call], list[object]]:
    return live(180, seed=3)


def test_every_turn_of_a_life_happens(half_a_year: tuple[Counter[str], list[Call], list[object]]) -> None:
    actions, _, _ = half_a_year
    assert set(actions) >= {
        "arrive", "trial", "subscribe", "come back", "buy coins_100", "buy lifetime", "cancel", "reenable",
        "card expires", "recover", "change plan", "refund", "pause", "restore", "leave",
    }  # fmt: skip
    assert actions["trial"] > actions["refund"]


def test_apps_speak_as_sdks_do(half_a_year: tuple[Counter[str], list[Call], list[object]]) -> None:
    _, calls, _ = half_a_year
    receipts = [call for call in calls if call.path == "/v1/receipts"]
    for platform, key in (("iOS", "appl_test"), ("android", "goog_test")):
        mine = [call for call in receipts if call.headers["X-Platform"] == platform]
        assert mine
        assert {call.headers["Authorization"] for call in mine} == {f"Bearer {key}"}
        assert {call.headers["X-Observer-Mode-Enabled"] for call in mine} == {"true", "false"}
    for call in receipts:
        assert call.body is not None
        assert call.body["fetch_token"]
        assert call.body["app_user_id"]
    bodies = [call.body for call in receipts if call.body is not None]
    assert {body["observer_mode"] for body in bodies} == {True, False}
    assert {body["is_restore"] for body in bodies} == {True, False}
    paths = Counter(call.path.rsplit("/", 1)[-1] for call in calls if call.method == "POST")
    assert paths["identify"]
    assert paths["attributes"]
    assert any(call.method == "GET" and call.path.startswith("/v1/subscribers/%24RCAnonymousID%3A") for call in calls)
