"""Receivers that misbehave in every way, and a hub that is stopped while they do: nobody else pays, nothing is lost."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db.tables import outbox
from tests.support.rude_server import (
    Reply,
    RudeServer,
    drip,
    gzip_bomb,
    half_answer,
    hang,
    hang_up,
    raw,
    reset,
    rude_server,
    status,
    ten_megabytes,
)
from tests.support.world import DAY_MS, World, live

pytestmark = pytest.mark.usefixtures("database")

BOUGHT = "INITIAL_PURCHASE NORMAL 9.99"
SECRET = "Bearer the-receiver-wants-this"

Verdict = tuple[str, int | None, str | None]

RECEIVERS: dict[str, tuple[Reply, Verdict]] = {
    "hangs": (hang, ("retry", None, "timeout")),
    "drips": (drip, ("retry", 200, "timeout")),
    "resets": (reset, ("retry", None, "reset")),
    "hangs-up": (hang_up, ("retry", None, "reset")),
    "half": (half_answer, ("retry", 200, "reset")),
    "no-http": (raw(b"SSH-2.0-nope\r\n"), ("retry", None, "protocol")),
    "redirects": (status(302, Location="/elsewhere"), ("misconfigured", 302, None)),
    "no-content": (status(204), ("misconfigured", 204, None)),
    "gone": (status(410), ("misconfigured", 410, None)),
    "unauthorized": (status(401, b"who are you"), ("misconfigured", 401, None)),
    "unwilling": (status(422, b"no"), ("rejected", 422, None)),
    "busy": (status(503), ("retry", 503, None)),
    "10-mb": (ten_megabytes, ("delivered", 200, None)),
    "bomb": (gzip_bomb(), ("delivered", 200, None)),
}


async def connect(it: World, server: RudeServer, name: str, reply: Reply) -> Any:
    server.replies[f"/{name}"] = reply
    return await it.webhook(
        name, url=f"{server.base_url}/{name}", authorization=SECRET, signing_secret="whsec_" + "s" * 32
    )


def test_each_is_judged_by_what_it_does_and_the_good_one_hears_everything(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        async with rude_server() as server:
            hooks = {name: await connect(it, server, name, reply) for name, (reply, _) in RECEIVERS.items()}
            for number in range(3):
                assert await it.post(it.apple, it.apple.purchase("pro_monthly"), f"customer-{number}") == 200
            await it.settle()
            assert it.told() == [BOUGHT] * 3
            for name, (_, verdict) in RECEIVERS.items():
                rows = it.attempts(hooks[name])
                assert [(row["outcome"], row["status_code"], row["error"]) for row in rows] == [verdict] * 3, name
                assert all(row["reason"] for row in rows)
                assert all(len(row["response_body"] or b"") <= 65_536 for row in rows), name
                assert all(row["response_truncated"] for row in rows) is (name in ("10-mb", "bomb")), name
            assert server.to("/elsewhere") == []
            kept = json.dumps([dict(row) for row in it.attempts()], default=repr)
            assert SECRET not in kept
            assert "whsec_" not in kept
            assert server.to("/busy")[0].headers["authorization"] == SECRET
            failing = {hook.id for name, hook in hooks.items() if RECEIVERS[name][1][0] != "delivered"}
            waiting = it.rows(outbox, outbox.c.id)
            assert {row["integration_id"] for row in waiting} == failing
            assert all(row["attempt"] == 1 and row["lease"] is None for row in waiting)

    live(tmp_path, scene, track_new_purchases=False, delivery_timeout_s=0.4)


def test_another_hub_on_the_same_folder_goes_on_with_what_was_queued(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        async with rude_server() as server:
            hanging = await connect(it, server, "hangs", hang)
            busy = await connect(it, server, "busy", status(503))
            it.kernel.faults.add("/androidpublisher/", 503, times=1)
            assert await it.post(it.apple, it.apple.purchase("pro_monthly"), "ann") == 200
            it.google.purchase("pro:monthly")
            await it.kernel.flush()  # the push is kept; its store cannot be asked yet
            await it.hub.ingest.processor.settle()
            await server.until("/hangs", 1)
            await server.until("/busy", 1)
            await it.stop()

            await it.start(it.hub.settings)
            first = it.attempts(busy)
            assert [row["outcome"] for row in first] == ["retry"]
            server.replies["/hangs"] = server.replies["/busy"] = status(200)
            await it.change(lambda c: c.execute(sa.update(outbox).values(due_at_ms=0)).rowcount)
            await it.restart()
            await it.try_again()
            assert sorted(event["store"] for event in it.received) == ["APP_STORE", "PLAY_STORE"]
            for hook in (hanging, busy):
                rows = [row for row in it.attempts(hook) if row["outcome"] == "delivered"]
                assert len({row["event_id"] for row in rows}) == len(rows) == 2
            assert it.rows(outbox, outbox.c.id) == []
            ids = [msgspec.json.decode(request.body)["event"]["id"] for request in server.to("/busy")]
            assert len(ids) == 3
            assert len(set(ids)) == 2

    live(tmp_path, scene)


def test_a_stopped_hub_takes_up_its_life_where_it_was(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        bought = it.apple.purchase("pro_monthly")
        assert await it.post(it.apple, bought, "ann") == 200
        await it.settle()
        await it.stop()
        it.clock.advance_ms(10 * DAY_MS)
        it.apple.cancel(bought)
        await it.kernel.flush()  # nobody there: Apple comes again
        await it.start(it.hub.settings)
        await it.advance(22 * DAY_MS)
        assert it.told() == [BOUGHT, "CANCELLATION UNSUBSCRIBE", "EXPIRATION UNSUBSCRIBE"]
        assert [event["customer_sequence"] for event in it.received] == [1, 2, 3]

    live(tmp_path, scene, track_new_purchases=False)
