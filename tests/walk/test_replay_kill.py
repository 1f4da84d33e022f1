"""A replay worked off by real processes that are killed: nothing is lost, and at most what was on the wire comes twice."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from bellwire.db.engine import open_engine
from bellwire.db.integrations import Filters, create_integration
from bellwire.db.migrate import upgrade
from bellwire.db.projects import create_project
from bellwire.db.replays import load_replay
from bellwire.db.secrets import Sealer
from bellwire.db.tables import events
from bellwire.delivery.replay_orders import draw_up, place
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.clock import SystemClock
from bellwire.model.replays import ReplayStatus, Selection
from tests.support.deliveries import until
from tests.support.process import HubProcess
from tests.support.rude_server import RudeServer, rude_server
from tests.walk.test_stop_under_load import free_port

EVENTS = 240
ON_THE_WIRE = 4

now_ms = SystemClock().now_ms


class Asked:
    """A database with a replay of its whole history to one webhook."""

    def __init__(self, folder: Path, url: str, server: RudeServer) -> None:
        self.engine = open_engine(url)
        upgrade(self.engine)
        sealer = Sealer.open_or_create(folder)
        with self.engine.begin() as connection:
            self.project_id = create_project(connection, name="Mine", now_ms=now_ms()).id
            rows = [self._event(number) for number in range(EVENTS)]
            connection.execute(sa.insert(events), rows)
            hook = create_integration(
                connection,
                sealer,
                project_id=self.project_id,
                destination="webhook",
                name="Backend",
                settings=WebhookSettings(url=f"{server.base_url}/in"),
                filters=Filters(concurrency=ON_THE_WIRE),
                now_ms=now_ms(),
            )
            order = draw_up(connection, hook, Selection())
            self.replay_id = place(connection, order, created_by="tests", now_ms=now_ms())

    def _event(self, number: int) -> dict[str, object]:
        payload = {
            "type": "RENEWAL",
            "id": f"E{number}",
            "event_timestamp_ms": number,
            "app_user_id": f"user-{number % 90}",
        }
        return {
            "id": f"E{number}",
            "project_id": self.project_id,
            "customer_id": number % 90,
            "type": "RENEWAL",
            "app_user_id": payload["app_user_id"],
            "event_timestamp_ms": number,
            "committed_at_ms": number,
            "dispatched": True,
            "historical": False,
            "payload": json.dumps(payload).encode(),
        }

    def status(self) -> ReplayStatus:
        with self.engine.execution_options(bellwire_read_only=True).begin() as connection:
            found = load_replay(connection, self.project_id, self.replay_id, now_ms=now_ms())
        assert found is not None
        self.seen = found
        return found.status


def test_killed_workers_lose_nothing_of_a_replay(tmp_path: Path, database: str) -> None:
    """On SQLite one process is killed and started again, on PostgreSQL one of two: its leases have to run out."""
    kills, processes = (1, 2) if database.startswith("postgresql") else (2, 1)

    async def scene() -> None:
        async with rude_server() as server:
            asked = Asked(tmp_path, database, server)
            environment = {"BELLWIRE_DATABASE_URL": database, "BELLWIRE_ALLOW_PRIVATE_ADDRESSES": "true"}
            hubs = [HubProcess(tmp_path, port=free_port(), environment=environment) for _ in range(processes)]
            try:
                await asyncio.gather(*(hub.start() for hub in hubs))
                for kill in range(kills):
                    await server.until("/in", (kill + 1) * EVENTS // (kills + 2))
                    await hubs[kill % processes].kill()
                    await hubs[kill % processes].start()
                await until(lambda: asked.status() is ReplayStatus.DONE)
            finally:
                await asyncio.gather(*(hub.kill() for hub in hubs))
            seen = asked.seen
            assert (seen.enqueued, seen.delivered, seen.failed, seen.passed_over) == (EVENTS, EVENTS, 0, 0)
            times = Counter(json.loads(request.body)["event"]["id"] for request in server.to("/in"))
            assert len(times) == EVENTS
            assert sum(times.values()) - EVENTS <= kills * ON_THE_WIRE
            asked.engine.dispose()

    async def bounded() -> None:
        async with asyncio.timeout(150):
            await scene()

    asyncio.run(bounded())
