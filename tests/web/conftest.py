"""A served hub whose ingest is a stand-in: real keys, real configuration, real HTTP."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from bellwire.db.apps import create_app, rotate_token
from bellwire.db.catalogue import attach, create_entitlement, create_product
from bellwire.db.config import ConfigCache
from bellwire.db.engine import open_engine, reader
from bellwire.db.keys import KeyKind, create_key, hash_key, revoke_key
from bellwire.db.migrate import upgrade
from bellwire.db.projects import create_project
from bellwire.db.secrets import Sealer
from bellwire.db.tables import api_keys
from bellwire.db.writer import Writer
from bellwire.kit.clock import ManualClock
from bellwire.model.enums import ProductType, Store
from bellwire.settings import Settings
from bellwire.web.app import build_web
from bellwire.web.health import Health
from bellwire.web.services import Services
from tests.support.threaded import Answered, ask, serving
from tests.web.standin import NOW_MS, StandIn

MAX_BODY_BYTES = 20_000


@dataclass
class Door:
    """The served hub and what leads into it."""

    port: int
    ingest: StandIn
    clock: ManualClock
    folder: Path
    project_id: str = ""
    other_project_id: str = ""
    apple_key: str = ""
    play_key: str = ""
    secret_key: str = ""
    legacy_key: str = ""
    revoked_key: str = ""
    other_secret_key: str = ""
    apple_app: str = ""
    apple_token: str = ""
    apple_old_token: str = ""
    play_app: str = ""
    play_token: str = ""
    stripe_key: str = ""

    def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: bytes | None = None,
        more: Mapping[str, str] | None = None,
        **headers: str,
    ) -> Answered:
        """One request; `x_platform="ios"` sends `x-platform: ios`, `more` goes out as it is spelled."""
        sent = dashed(headers) | dict(more or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        return ask(self.port, method, path, body=body, headers=sent)


def dashed(names: Mapping[str, str]) -> dict[str, str]:
    """Keyword arguments as header names."""
    return {name.replace("_", "-"): value for name, value in names.items()}


@pytest.fixture(scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder: Path = tmp_path_factory.mktemp("hub")
    settings = Settings(data_dir=folder, max_body_bytes=MAX_BODY_BYTES)
    engine = open_engine(settings.resolved_database_url())
    upgrade(engine)
    sealer = Sealer.open_or_create(folder)
    writer = Writer(engine)
    ingest = StandIn()
    clock = ManualClock(NOW_MS)
    door = Door(port=0, ingest=ingest, clock=clock, folder=folder)
    services = Services(
        settings=settings,
        clock=clock,
        config=ConfigCache(engine, sealer),
        writer=writer,
        engine=reader(engine),
        ingest=ingest,
        delivery=_NoDelivery(),
        sealer=sealer,
        health=Health(engine, writer),
    )
    with engine.begin() as connection:
        project = create_project(connection, name="One", now_ms=1)
        other = create_project(connection, name="Other", now_ms=1)
        door.project_id, door.other_project_id = project.id, other.id

        def new_app(store: Store, config: dict[str, object], now_ms: int = 1) -> str:
            app = create_app(
                connection,
                sealer,
                project_id=project.id,
                store=store,
                name=store.value,
                config=config,
                secrets={},
                now_ms=now_ms,
            )
            if store is Store.APP_STORE:
                door.apple_old_token = app.token
                door.apple_token = rotate_token(connection, project.id, app.id) or ""
            else:
                door.play_token = app.token
            return app.id

        def new_key(app_id: str | None, project_id: str = project.id) -> str:
            kind = KeyKind.SECRET if app_id is None else KeyKind.PUBLIC
            return create_key(connection, sealer, project_id=project_id, kind=kind, name="k", now_ms=1, app_id=app_id)[
                0
            ]

        stripe = new_app(Store.STRIPE, {})
        door.play_app = new_app(Store.PLAY_STORE, {"package_name": "com.example.app"})
        door.apple_app = new_app(Store.APP_STORE, {"bundle_id": "com.example.app"})
        door.apple_key, door.play_key = new_key(door.apple_app), new_key(door.play_app)
        door.stripe_key = new_key(stripe)
        door.secret_key, door.other_secret_key = new_key(None), new_key(None, other.id)
        plain, revoked = create_key(
            connection, sealer, project_id=project.id, kind=KeyKind.SECRET, name="gone", now_ms=1
        )
        revoke_key(connection, project.id, revoked.id, now_ms=2)
        door.revoked_key = plain
        door.legacy_key = "AbCdEfGhIjKlMnOpQrStUvWx"
        connection.execute(
            api_keys.insert().values(
                id="keylegacy",
                project_id=project.id,
                app_id=None,
                kind="public",
                name="old",
                key_hash=hash_key(door.legacy_key),
                hint="…UvWx",
                created_at_ms=1,
            )
        )
        create_entitlement(connection, project_id=project.id, identifier="pro", now_ms=1)
        for product in ("pro_monthly", "pro:monthly", "coins"):
            create_product(
                connection,
                project_id=project.id,
                product_key=product,
                product_type=ProductType.SUBSCRIPTION,
                now_ms=1,
            )
        for product in ("pro_monthly", "pro:monthly"):
            attach(connection, project_id=project.id, product_key=product, identifier="pro")
    with serving(build_web(services)) as port:
        door.port = port
        yield door
    writer.close()
    engine.dispose()


@pytest.fixture
def door(_served: Door) -> Door:
    """The module's hub, forgetful of what other tests asked."""
    _served.ingest.failure = None
    _served.ingest.visits.clear()
    _served.ingest.receipts.clear()
    _served.ingest.notifications.clear()
    _served.ingest.consumable.clear()
    return _served


class _NoDelivery:
    """These tests deliver nothing."""

    def subscribe(self) -> asyncio.Queue[int]:
        return asyncio.Queue()

    def unsubscribe(self, queue: asyncio.Queue[int]) -> None:
        del queue

    async def retry(self, project_id: str, integration_id: str, event_seq: int) -> object:
        raise AssertionError((project_id, integration_id, event_seq))

    async def send_test(self, project_id: str, integration_id: str) -> object:
        raise AssertionError((project_id, integration_id))
