"""What a hub uses that has nothing to do: `serve` as operators run it, empty or with integrations that wait for events."""

import time

from bellwire.db.engine import open_engine
from bellwire.db.integrations import Filters, create_integration
from bellwire.db.secrets import Sealer
from bellwire.destinations.webhook.destination import Settings as Webhook
from bellwire.kit.ids import new_token
from bench.cost import cpu_s
from bench.databases import Database, databases
from bench.installation import Installation, Stores, hub_process, installation, stores

SETTLED_S = 3.0
"""What starting costs is not idling."""


def measure(of: Stores, database: Database, seconds: float, *, integrations: int) -> float:
    """Per cent of a core, with so many more integrations than the one that is there."""
    with installation(of, "http://127.0.0.1:9/", database) as installed:
        _add(installed, integrations)
        with hub_process(installed) as hub:
            time.sleep(SETTLED_S)
            before_s = cpu_s(hub.pid)
            time.sleep(seconds)
            return (cpu_s(hub.pid) - before_s) / seconds * 100


def _add(installed: Installation, count: int) -> None:
    engine = open_engine(installed.settings.resolved_database_url())
    sealer = Sealer.open_or_create(installed.settings.data_dir, "")
    with engine.begin() as connection:
        for number in range(count):
            create_integration(
                connection,
                sealer,
                project_id=installed.apple.project_id,
                destination="webhook",
                name=f"Sink {number}",
                settings=Webhook(url="http://127.0.0.1:9/", signing_secret=new_token("whsec_")),
                filters=Filters(),
                now_ms=0,
            )
    engine.dispose()


if __name__ == "__main__":
    with stores(10) as of, databases() as known:
        for database in known:
            for integrations in (0, 20):
                percent = measure(of, database, 30, integrations=integrations)
                print(f"idle {database.kind}, {integrations} more integrations: {percent:.2f} % of a core", flush=True)
