"""How a hub ends: in order when it is told to, and visibly when a part of it has died."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from bellwire import serve as serving
from bellwire.db.tables import outbox
from bellwire.ingest.timers import Timers
from bellwire.serve import serve
from bellwire.settings import Settings
from tests.support.rude_server import hang, rude_server
from tests.support.world import World, live


def test_a_hub_whose_loop_has_died_ends_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def die(_timers: Timers) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Timers, "run", die)
    monkeypatch.setattr(serving, "spare_the_collector", lambda: None)
    assert serve(Settings(data_dir=tmp_path, port=0)) == 1


def test_a_stopped_hub_holds_nothing_back(tmp_path: Path) -> None:
    """What was on its way to a receiver that hangs is due again, not on lease."""

    async def scene(it: World) -> None:
        async with rude_server() as server:
            server.replies["/in"] = hang
            await it.webhook("hangs", url=f"{server.base_url}/in")
            assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
            await server.until("/in", 1)
            await it.stop()
            with sa.create_engine(f"sqlite:///{tmp_path / 'bellwire.db'}").connect() as connection:
                (row,) = connection.execute(sa.select(outbox)).all()
                connection.engine.dispose()
            assert (row.state, row.attempt, row.lease) == (0, 0, None)
            assert not [task for task in asyncio.all_tasks() if "bellwire/ingest" in str(task.get_coro())]

    live(tmp_path, scene, track_new_purchases=False)
