"""A fresh installation of the hub for each measurement: one project, both stores, one signed webhook to the sink."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bellwire.db.apps import create_app
from bellwire.db.catalogue import attach, create_entitlement, create_product
from bellwire.db.engine import open_engine
from bellwire.db.integrations import Filters, create_integration
from bellwire.db.keys import KeyKind, create_key
from bellwire.db.migrate import upgrade
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.destinations.webhook.destination import Settings as Webhook
from bellwire.kit.ids import new_token
from bellwire.model.enums import ProductType, Store
from bellwire.model.projects import App
from bellwire.settings import Settings
from bench.databases import SQLITE, Database
from bench.processes import free_port, python_server, running

CUSTOMERS = 6_000
PLAY_PURCHASES = 60_000
"""More than any door takes in the time of a measurement: they cost next to nothing to make."""
CONCURRENCY = 64


class Stores(NamedTuple):
    """Fake stores that run, and the folder with what they have to say."""

    folder: Path

    def bodies(self, name: str) -> list[bytes]:
        return (self.folder / name).read_bytes().split(b"\n")

    @property
    def play_authorization(self) -> str:
        return (self.folder / "play_authorization").read_text()


class Installation(NamedTuple):
    """A prepared data folder."""

    settings: Settings
    apple: App
    google: App
    sdk_key: str

    def notification_path(self, app: App) -> str:
        return f"/v1/incoming-webhooks/{'apple' if app is self.apple else 'google'}/{app.token}"


class HubProcess(NamedTuple):
    """A hub that runs on a prepared installation."""

    url: str
    pid: int


@contextlib.contextmanager
def stores(customers: int = CUSTOMERS, play_purchases: int = PLAY_PURCHASES) -> Iterator[Stores]:
    """Run the fake stores. Their signatures are made once and serve for all rounds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        python_server("bench.stores", folder, str(customers), str(play_purchases)),
    ):
        yield Stores(Path(folder))


@contextlib.contextmanager
def installation(of: Stores, sink_url: str, database: Database = SQLITE) -> Iterator[Installation]:
    """An empty database with one project; gone after the block."""
    with tempfile.TemporaryDirectory() as folder, database.new(Path(folder)) as url:
        settings = Settings(
            data_dir=Path(folder),
            database_url=url,
            allow_private_addresses=True,
            allow_test_roots=True,
            log_level="error",
        )
        yield _install(settings, json.loads((of.folder / "credentials.json").read_text()), sink_url)


@contextlib.contextmanager
def hub_process(installed: Installation, *, doors_only: bool = False) -> Iterator[HubProcess]:
    """Run the hub as operators do, or its doors alone."""
    port = free_port()
    environment = {
        "BELLWIRE_DATA_DIR": str(installed.settings.data_dir),
        "BELLWIRE_DATABASE_URL": installed.settings.database_url,
        "BELLWIRE_ALLOW_PRIVATE_ADDRESSES": "true",
        "BELLWIRE_ALLOW_TEST_ROOTS": "true",
        "BELLWIRE_LOG_LEVEL": "error",
    }
    module = ["-m", "bench.doors"] if doors_only else ["-m", "bellwire", "serve", "--port"]
    with running([sys.executable, *module, str(port)], port, env={**os.environ, **environment}) as process:
        yield HubProcess(f"http://127.0.0.1:{port}", process.pid)


def _install(settings: Settings, credentials: dict[str, dict[str, dict[str, object]]], sink_url: str) -> Installation:
    engine = open_engine(settings.resolved_database_url())
    sealer = Sealer.open_or_create(settings.data_dir, "")
    try:
        upgrade(engine)
        with engine.begin() as connection:
            project = create_project(connection, name="Bench", now_ms=0)
            create_entitlement(connection, project_id=project.id, identifier="pro", now_ms=0)
            for product in ("pro_monthly", "pro:monthly"):
                create_product(
                    connection, project_id=project.id, product_key=product, product_type=ProductType.SUBSCRIPTION,
                    now_ms=0,
                )  # fmt: skip
                attach(connection, project_id=project.id, product_key=product, identifier="pro")
            apps = [
                create_app(
                    connection,
                    sealer,
                    project_id=project.id,
                    store=store,
                    name=store.value,
                    config=credentials[slug]["config"],
                    secrets={name: str(value) for name, value in credentials[slug]["secrets"].items()},
                    track_new_purchases=True,
                    now_ms=0,
                )
                for store, slug in ((Store.APP_STORE, "apple"), (Store.PLAY_STORE, "google"))
            ]
            key, _ = create_key(
                connection, sealer, project_id=project.id, app_id=apps[0].id, kind=KeyKind.PUBLIC, name="SDK",
                now_ms=0,
            )  # fmt: skip
            create_integration(
                connection,
                sealer,
                project_id=project.id,
                destination="webhook",
                name="Sink",
                settings=Webhook(url=sink_url, signing_secret=new_token("whsec_")),
                filters=Filters(concurrency=CONCURRENCY),
                now_ms=0,
            )
    finally:
        engine.dispose()
    return Installation(settings, apps[0], apps[1], key)
