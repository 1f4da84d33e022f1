"""`bellwire replay` and `bellwire parked`, against a hub that runs beside the command."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from click.testing import Result

from bellwire.db.lane_states import resume_lane
from bellwire.db.outbox import State
from bellwire.db.tables import events, outbox
from bellwire.delivery import replay as replaying
from bellwire.model.projects import Integration
from tests.cli.conftest import Bellwire, answer
from tests.support.deliveries import Hub, open_hub, play, until
from tests.support.rude_server import RudeServer, rude_server, status


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUSY_S", "OPEN_S", "IDLE_S"):
        monkeypatch.setattr(replaying, name, 0.01)


def scene(bellwire: Bellwire, tmp_path: Path, act: Callable[[Hub, RudeServer, Integration], Any]) -> None:
    """A hub with thirty events of ten customers, which were never sent anywhere, and one webhook."""
    bellwire("project", "create", "Mine")

    async def run() -> None:
        async with rude_server() as server, open_hub(tmp_path / "data") as hub:
            for customer in range(10):
                hub.emit(customer_id=customer, count=3)
            hook = hub.webhook(f"{server.base_url}/in", retry_schedule="compatible")
            await act(hub, server, hook)

    play(run)


async def told(bellwire: Bellwire, *arguments: str, **more: Any) -> Result:
    """A command, beside the running loop."""
    return await asyncio.to_thread(bellwire, *arguments, **more)


def items(result: Result, name: str) -> list[dict[str, Any]]:
    """The objects under `name` on stdout."""
    return msgspec.json.decode(result.stdout, type=dict[str, Any])[name]


async def park(hub: Hub, server: RudeServer, hook: Integration, count: int) -> None:
    server.replies["/in"] = status(418)
    numbers = hub.emit(hook, count=count)
    async with hub.delivering():
        await until(lambda: len(hub.attempts()) >= 1)
    hub.change(sa.update(outbox).where(outbox.c.event_seq.in_(numbers)).values(state=State.PARKED.value))
    await hub.writer.change(lambda connection: resume_lane(connection, hub.project_id, hook.id))
    server.replies["/in"] = status(200)


def test_a_dry_run_makes_nothing(bellwire: Bellwire, tmp_path: Path) -> None:
    async def act(hub: Hub, server: RudeServer, hook: Integration) -> None:
        hub.change(sa.update(events).where(events.c.seq <= 5).values(dispatched=False))
        said = await told(bellwire, "replay", "start", "--all", "--dry-run")
        assert f"({hook.id}): 25 deliveries, " in said.stdout
        assert "RENEWAL                         25" in said.stdout
        assert "left out: 5 never went out" in said.stdout
        (found,) = items(await told(bellwire, "replay", "start", "--all", "--dry-run", "--json"), "replays")
        assert (found["total"], found["undispatched"], found["integration_id"]) == (25, 5, hook.id)
        assert len(found["samples"]) == 5
        assert answer(await told(bellwire, "replay", "list", "--json")) == {"replays": []}
        assert hub.waiting() == []

    scene(bellwire, tmp_path, act)


def test_the_whole_history_with_waiting_for_its_end(bellwire: Bellwire, tmp_path: Path) -> None:
    async def act(hub: Hub, server: RudeServer, hook: Integration) -> None:
        async with hub.delivering():
            said = await told(bellwire, "replay", "start", "--all", "--integration", hook.id, "--yes", "--wait")
        assert "done: 30 delivered." in said.stdout
        assert ": 30 delivered of 30" in said.stderr
        assert len(server.to("/in")) == 30
        listed = (await told(bellwire, "replay", "list")).stdout.splitlines()
        assert listed[0].split()[:2] == ["ID", "CREATED"]
        assert "30 delivered" in listed[1]
        replay_id = listed[1].split()[0]
        shown = await told(bellwire, "replay", "show", replay_id)
        assert "asked for" in shown.stdout
        done = answer(await told(bellwire, "replay", "show", replay_id, "--json"))
        assert (done["status"], done["delivered"], done["failed"]) == ("done", 30, 0)
        refused = await told(bellwire, "replay", "cancel", replay_id, status=1)
        assert refused.stderr == f"Error: replay {replay_id} is done already\n"

    scene(bellwire, tmp_path, act)


def test_one_event_one_customer_and_a_rate(bellwire: Bellwire, tmp_path: Path) -> None:
    async def act(hub: Hub, server: RudeServer, hook: Integration) -> None:
        with hub.engine.connect() as connection:
            event_id = str(connection.execute(sa.select(events.c.id).where(events.c.seq == 4)).scalar_one())
        async with hub.delivering():
            await told(bellwire, "replay", "start", "--event", event_id, "--wait", "--rate", "5")
        (request,) = server.to("/in")
        assert msgspec.json.decode(request.body)["event"]["id"] == event_id
        none = await told(bellwire, "replay", "start", "--customer", "nobody", "--json")
        assert answer(none) == {"replays": []}
        assert none.stderr.endswith("Nothing to send.\n")
        assert "1970-01-01" not in (await told(bellwire, "replay", "start", "--since", "1d", "--dry-run")).stdout

    scene(bellwire, tmp_path, act)


def test_many_are_asked_for_and_a_replay_can_be_cancelled(bellwire: Bellwire, tmp_path: Path) -> None:
    async def act(hub: Hub, server: RudeServer, hook: Integration) -> None:
        asked = await told(bellwire, "replay", "start", "--all", status=2)
        assert "Send 30 deliveries? Say --yes" in asked.stderr
        (made,) = items(await told(bellwire, "replay", "start", "--all", "--yes", "--json"), "replays")
        assert made["status"] == "waiting"
        stopped = answer(await told(bellwire, "replay", "cancel", made["id"], "--json"))
        assert stopped["status"] == "cancelled"
        async with hub.delivering():
            assert hub.attempts() == []

    scene(bellwire, tmp_path, act)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "say what to send"),
        (("--all", "--failed"), "--all is everything"),
        (("--failed", "--include-undispatched"), "goes with the history"),
        (("--all", "--integration", "nobody"), "the project has no integration nobody"),
        (("--all", "--rate", "0"), "0"),
        (("--since", "yesterday"), "yesterday is no time"),
        (("--all", "--type", "RENEWED"), "RENEWED is no type of event"),
    ],
)
def test_wrong_uses(bellwire: Bellwire, arguments: tuple[str, ...], complaint: str) -> None:
    bellwire("project", "create", "Mine")
    assert complaint in bellwire("replay", "start", *arguments, status=2).stderr


def test_unknown_ones(bellwire: Bellwire) -> None:
    bellwire("project", "create", "Mine")
    for command in (
        ("replay", "show", "x"),
        ("replay", "cancel", "x"),
        ("parked", "show", "1"),
        ("parked", "retry", "1"),
    ):
        assert "the project has no" in bellwire(*command, status=1).stderr


def test_parked_deliveries_are_worked_through(bellwire: Bellwire, tmp_path: Path) -> None:
    async def act(hub: Hub, server: RudeServer, hook: Integration) -> None:
        await park(hub, server, hook, 4)
        listed = await told(bellwire, "parked", "list", "--json")
        ids = [str(one["id"]) for one in items(listed, "parked_deliveries")]
        assert (len(ids), answer(listed)["total"]) == (4, 4)
        assert "418" in (await told(bellwire, "parked", "list")).stdout
        assert "automatic" in (await told(bellwire, "parked", "show", ids[-1])).stdout
        gone = await told(bellwire, "parked", "discard", ids[0], "--reason", "test data")
        assert gone.stdout == "Discarded 1 deliveries.\n"
        async with hub.delivering():
            await told(bellwire, "parked", "retry", ids[1])
            await until(lambda: len(hub.waiting()) == 2)
            await told(bellwire, "parked", "retry", "--all", "--integration", hook.id, "--type", "renewal")
            await until(lambda: not hub.waiting())
        assert (await told(bellwire, "parked", "list")).stdout == "Nothing is parked.\n"
        assert hub.attempts()[-1].trigger == "replay"
        discarded = [row.reason for row in hub.attempts() if row.outcome == "skipped"]
        assert discarded == ["Discarded by the command line: test data"]

    scene(bellwire, tmp_path, act)


def test_discarding_all(bellwire: Bellwire, tmp_path: Path) -> None:
    async def act(hub: Hub, server: RudeServer, hook: Integration) -> None:
        await park(hub, server, hook, 3)
        assert "say --all" in (await told(bellwire, "parked", "discard", "--reason", "x", status=2)).stderr
        asked = await told(bellwire, "parked", "discard", "--all", "--reason", "x", status=2)
        assert "Say --yes" in asked.stderr
        said = answer(await told(bellwire, "parked", "discard", "--all", "--yes", "--reason", "x", "--json"))
        assert said == {"discarded": 3}
        refused = await told(bellwire, "parked", "retry", "--all", status=1)
        assert "no parked delivery is like that" in refused.stderr

    scene(bellwire, tmp_path, act)
