"""How much memory the hub takes with a million deliveries waiting, while it works them off."""

import time

from bellwire.db.engine import open_engine, reader
from bench.backlog import fill_backlog
from bench.cost import peak_mb
from bench.databases import Database, databases
from bench.deliver import attempts_delivered
from bench.installation import Stores, hub_process, installation, stores
from bench.processes import nginx

WAITING = 1_000_000


def measure(of: Stores, database: Database, seconds: float, waiting: int = WAITING) -> float:
    """The peak in MB after `seconds` of draining."""
    with nginx() as sink, installation(of, sink, database) as installed:
        fill_backlog(installed, waiting)
        engine = reader(open_engine(installed.settings.resolved_database_url()))
        with hub_process(installed) as hub:
            time.sleep(seconds)
            if not attempts_delivered(engine):
                raise RuntimeError("nothing was delivered")
            peak = peak_mb(hub.pid)
        engine.dispose()
    return peak


if __name__ == "__main__":
    with stores(10) as of, databases() as known:
        for database in known:
            print(f"memory {database.kind}: {measure(of, database, 20):.0f} MB", flush=True)
