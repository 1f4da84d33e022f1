"""`bellwire integration update, show, list, pause, resume`: settings and state of a lane from the command line."""

from typing import cast

import pytest

from bellwire.cli.console import open_hub
from bellwire.db.lane_states import BreakerState, LaneChange, LaneState, save_lane_changes
from tests.cli.conftest import Bellwire, answer

URL = "https://tool.example/hook"


@pytest.fixture
def made(bellwire: Bellwire) -> dict[str, object]:
    bellwire("project", "create", "Ours")
    return answer(bellwire("integration", "create", "webhook", "Mine", "--url", URL, "--rate-limit", "2.5", "--json"))


def shown(bellwire: Bellwire, made: dict[str, object]) -> dict[str, object]:
    return answer(bellwire("integration", "show", str(made["id"]), "--json"))


def tell(made: dict[str, object], **columns: object) -> None:
    change = LaneChange(integration_id=str(made["id"]), project_id=str(made["project_id"]), columns=columns)
    with open_hub() as hub, hub.engine.begin() as connection:
        save_lane_changes(connection, [change], now_ms=0)


def test_limits_are_given_when_it_is_made(bellwire: Bellwire, made: dict[str, object]) -> None:
    assert made["rate_limit"] == {"events_per_s": 2.5, "burst": 3}
    assert (made["concurrency"], made["order_wait_ms"]) == (16, 60_000)
    bellwire("integration", "create", "webhook", "Mine", "--url", URL, "--rate-burst", "3", status=2)
    bellwire("integration", "create", "webhook", "Mine", "--url", URL, "--order-wait", "soon", status=2)
    bellwire("integration", "create", "webhook", "Mine", "--url", URL, "--concurrency", "0", status=2)


def test_each_setting_can_be_changed_and_the_rest_stays(bellwire: Bellwire, made: dict[str, object]) -> None:
    def update(*options: str) -> dict[str, object]:
        return answer(bellwire("integration", "update", "webhook", str(made["id"]), *options, "--json"))

    changed = update("--concurrency", "4", "--order-wait", "strict", "--rate-burst", "9", "--event", "renewal")
    assert changed["changed"] == ["concurrency", "event_types", "order_wait_ms", "rate_limit"]
    assert (changed["concurrency"], changed["order_wait_ms"]) == (4, None)
    assert (changed["rate_limit"], changed["event_types"]) == ({"events_per_s": 2.5, "burst": 9}, ["RENEWAL"])
    changed = update("--rate-limit", "0", "--order-wait", "never", "--event", "all", "--environment", "sandbox")
    assert (changed["rate_limit"], changed["event_types"], changed["order_wait_ms"]) == (None, None, 0)
    assert changed["environment"] == "SANDBOX"
    changed = update("--name", "Yours", "--url", f"{URL}2", "--environment", "both", "--order-wait", "90")
    assert cast(dict[str, object], changed["settings"])["url"] == f"{URL}2"
    assert (changed["name"], changed["environment"], changed["order_wait_ms"]) == ("Yours", None, 90_000)
    assert changed["concurrency"] == 4


def test_an_update_says_what_it_needs(bellwire: Bellwire, made: dict[str, object]) -> None:
    bellwire("integration", "update", "webhook", str(made["id"]), status=2)
    bellwire("integration", "update", "webhook", "intg0", "--name", "x", status=2)
    result = bellwire("integration", "update", "webhook", str(made["id"]), "--url", "http://tool.example", status=2)
    assert "BELLWIRE_ALLOW_PRIVATE_ADDRESSES" in result.output


def test_a_signing_secret_can_be_changed_and_taken_away(bellwire: Bellwire, made: dict[str, object]) -> None:
    signed = answer(bellwire("integration", "update", "webhook", str(made["id"]), "--signing", "--json"))
    assert str(signed["signing_secret"]).startswith("whsec_")
    assert cast(dict[str, object], signed["settings"])["signing_secret"] == "••••••••"
    plain = answer(bellwire("integration", "update", "webhook", str(made["id"]), "--no-signing", "--json"))
    assert cast(dict[str, object], plain["settings"])["signing_secret"] == ""


def test_pausing_shows_and_resuming_forgets_what_failed(bellwire: Bellwire, made: dict[str, object]) -> None:
    tell(
        made,
        breaker=BreakerState.OPEN,
        breaker_since_ms=5,
        failing_since_ms=5,
        failures=70,
        last_failure="answered 503",
    )
    assert shown(bellwire, made)["state"] == "open"
    assert "answered 503" in bellwire("integration", "show", str(made["id"])).output
    bellwire("integration", "pause", str(made["id"]), "--reason", "moving house")
    assert shown(bellwire, made)["state"] == "paused"
    assert "moving house" in bellwire("integration", "show", str(made["id"])).output
    assert "paused" in bellwire("integration", "list").output
    bellwire("integration", "resume", str(made["id"]))
    after = shown(bellwire, made)
    assert after["state"] == "sending"
    assert after["lane"] == {
        **cast(dict[str, object], shown(bellwire, made)["lane"]),
        "failures": 0,
        "breaker": "closed",
    }
    bellwire("integration", "pause", "intg0", status=1)
    bellwire("integration", "resume", "intg0", status=1)
    bellwire("integration", "show", "intg0", status=2)


def test_new_settings_are_tried_at_once(bellwire: Bellwire, made: dict[str, object]) -> None:
    """A mended address waited for the probe of the old one."""
    tell(
        made, breaker=BreakerState.OPEN, breaker_since_ms=5, next_probe_at_ms=2**50, blocked_until_ms=2**50, failures=70
    )
    bellwire("integration", "update", "webhook", str(made["id"]), "--url", f"{URL}2")
    after = shown(bellwire, made)
    assert after["state"] == "sending"
    assert cast(dict[str, object], after["lane"])["failures"] == 70


def test_every_state_is_said_in_words(bellwire: Bellwire, made: dict[str, object]) -> None:
    def words(state: LaneState) -> str:
        columns = {name: getattr(state, name) for name in LaneState.__struct_fields__}
        tell(made, **columns)
        return bellwire("integration", "show", str(made["id"])).output.splitlines()[1]

    assert words(LaneState()) == "State         sending"
    half = words(LaneState(breaker=BreakerState.HALF_OPEN, breaker_since_ms=0))
    assert half.startswith("State         breaker open since 1970-01-01 00:00:00 UTC (")
    assert half.endswith("a probe is on its way")
