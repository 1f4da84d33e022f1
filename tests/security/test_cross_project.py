"""Two projects in one hub: nothing of one is reached with the ids, keys or pages of the other."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import sqlalchemy as sa
from starlette.routing import Route

from bellwire.db.apps import create_app
from bellwire.db.integrations import create_integration
from bellwire.db.keys import KeyKind, create_key
from bellwire.db.projects import create_project
from bellwire.db.tables import customers
from bellwire.delivery.replay_orders import draw_up, place
from bellwire.delivery.service import DeliveryRefused
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.clock import SystemClock
from bellwire.model.enums import Store
from bellwire.model.projects import Integration
from bellwire.model.replays import Selection
from tests.security.person import person
from tests.support.world import World, live


class Others:
    """Another project beside the world's, with a key, an app and a webhook of its own."""

    def __init__(self, it: World) -> None:
        with it.hub.engine.begin() as connection:
            self.project_id = create_project(connection, name="Others", now_ms=0).id
            credentials = it.apple.credentials()
            app = create_app(
                connection,
                it.hub.sealer,
                project_id=self.project_id,
                store=Store.APP_STORE,
                name="Others' app",
                config={**credentials["config"], "bundle_id": "com.example.other"},
                secrets={name: str(value) for name, value in credentials["secrets"].items()},
                now_ms=0,
            )
            self.app_id, self.token = app.id, app.token
            self.public_key, _ = create_key(
                connection,
                it.hub.sealer,
                project_id=self.project_id,
                app_id=app.id,
                kind=KeyKind.PUBLIC,
                name="p",
                now_ms=0,
            )
            self.secret_key, _ = create_key(
                connection,
                it.hub.sealer,
                project_id=self.project_id,
                app_id=None,
                kind=KeyKind.SECRET,
                name="s",
                now_ms=0,
            )
            self.hook_id = create_integration(
                connection,
                it.hub.sealer,
                project_id=self.project_id,
                destination="webhook",
                name="Others' hook",
                settings=WebhookSettings(url=f"{it.stores_url}/hooks/others"),
                now_ms=0,
            ).id


def crossing(folder: Path, scene: Callable[[World, Others], Awaitable[None]]) -> None:
    async def both(it: World) -> None:
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "ada")
        await it.settle()
        await scene(it, Others(it))

    live(folder, both)


def test_every_page_and_action_by_anothers_ids(tmp_path: Path) -> None:
    async def scene(it: World, others: Others) -> None:
        with it.hub.read_engine.connect() as connection:
            customer_id = connection.execute(sa.select(customers.c.id)).scalars().first()
        event_id = it.events()[0]["id"]
        hook = it.hub.config.current().integrations_of(it.project_id)[0]
        ids = {"integration_id": hook.id, "event_id": event_id, "customer_id": customer_id}
        ids["replay_id"] = await _ask_for_replay(it, hook)
        before = len(it.attempts())
        async with person(it) as ada:
            tried = 0
            for route in it.hub.web.routes:
                if not isinstance(route, Route) or route.path.count("{") < 2:
                    continue
                for method in (route.methods or set()) - {"HEAD"}:
                    own = await ada.ask(
                        method, route.path.format(project_id=it.project_id, **ids), form=_form(method, ada.csrf)
                    )
                    crossed = await ada.ask(
                        method, route.path.format(project_id=others.project_id, **ids), form=_form(method, ada.csrf)
                    )
                    over = {409} if route.path.endswith("/cancel") else set[int]()  # it may have gone out meanwhile
                    assert own.status in {200, 303} | over, route.path
                    assert crossed.status == 404, route.path
                    assert "ada" not in crossed.text.replace("ada@example.com", ""), route.path
                    tried += 1
            assert tried >= 6
            await it.delivered()
            for path in ("feed", "integrations", "apps", "replays", "replays/rows", "replays/new", "parked"):
                page = (await ada.get(f"/projects/{others.project_id}/{path}?integration={hook.id}&customer=ada")).text
                assert event_id not in page
                assert it.apple_app.token not in page
            apps = await ada.get(f"/projects/{others.project_id}/apps?app={it.apple_app.id}")
            assert apps.status == 404
            for path, form in (
                ("replays", {"integration": hook.id, "what": "history", "csrf": ada.csrf}),
                ("parked/retry", {"integration": hook.id, "all": "yes", "csrf": ada.csrf}),
                ("parked/discard", {"integration": hook.id, "all": "yes", "reason": "x", "csrf": ada.csrf}),
            ):
                refused = await ada.ask("POST", f"/projects/{others.project_id}/{path}", form=form)
                assert refused.status in (400, 404, 409), path
        assert before < len(it.attempts()) <= before + 3  # retry, test and replay, through our own project alone
        assert not it.hooks["others"]

    crossing(tmp_path, scene)


async def _ask_for_replay(it: World, hook: Integration) -> str:
    """A replay of our own project's only event."""
    selection = Selection()
    with it.hub.read_engine.connect() as connection:
        order = draw_up(connection, hook, selection)
    return await it.hub.writer.change(
        lambda connection: place(connection, order, created_by="ada", now_ms=SystemClock().now_ms())
    )


def _form(method: str, csrf: str) -> dict[str, str] | None:
    return {"csrf": csrf} if method == "POST" else None


def test_stream_of_another_project(tmp_path: Path) -> None:
    async def scene(it: World, others: Others) -> None:
        event_id = it.events()[0]["id"]
        hook = it.hub.config.current().integrations_of(it.project_id)[0]
        async with person(it) as ada, aiohttp.ClientSession() as session:
            query = f"after=0&integration={hook.id}&customer=ada"
            url = f"{it.url}/projects/{others.project_id}/feed/stream?{query}"
            async with session.get(url, headers={"cookie": ada.cookie}) as stream:
                assert stream.status == 200
                await it.hub.delivery.send_test(others.project_id, others.hook_id)
                await it.hub.delivery.send_test(it.project_id, hook.id)
                heard = b""
                try:
                    async with asyncio.timeout(1.5):
                        async for chunk in stream.content.iter_any():
                            heard += chunk
                except TimeoutError:
                    pass
                assert heard.startswith(b"retry:")
                assert event_id.encode() not in heard
                assert hook.id.encode() not in heard

    crossing(tmp_path, scene)


def test_keys_of_another_project(tmp_path: Path) -> None:
    async def scene(it: World, others: Others) -> None:
        for key in (others.secret_key, others.public_key):
            status, answer = await it.call("GET", "/v1/subscribers/ada", key=key, platform="iOS")
            assert (status, answer["subscriber"]["entitlements"]) == (201 if key == others.secret_key else 200, {})
        signed = it.apple.signed_transaction(next(iter(it.apple.subscriptions)))
        body = {"app_user_id": "eve", "fetch_token": signed}
        status, _ = await it.call("POST", "/v1/receipts", body, others.public_key, "iOS")
        assert status >= 400
        status, _ = await it.call(
            "POST",
            "/v1/subscribers/identify",
            {"app_user_id": "eve", "new_app_user_id": "ada"},
            others.public_key,
            "iOS",
        )
        assert not (await it.subscriber("ada"))["subscriptions"] == {}
        own = (await it.call("GET", "/v1/subscribers/eve", key=others.secret_key))[1]["subscriber"]
        assert own["subscriptions"] == {}

    crossing(tmp_path, scene)


def test_a_notification_through_anothers_door(tmp_path: Path) -> None:
    async def scene(it: World, others: Others) -> None:
        before = len(it.chains())
        it.apple.notification_url = f"{it.url}/v1/incoming-webhooks/apple/{others.token}"
        it.apple.purchase("basic_monthly")
        await it.kernel.flush()
        await it.hub.ingest.processor.settle()
        assert len(it.chains()) == before
        assert {row["status"] for row in it.inbox() if row["app_id"] == others.app_id} <= {
            "ignored",
            "ignored_type",
            "rejected",
        }

    crossing(tmp_path, scene)


def test_retry_and_test_by_anothers_integration(tmp_path: Path) -> None:
    async def scene(it: World, others: Others) -> None:
        hook = it.hub.config.current().integrations_of(it.project_id)[0]
        seq = 1
        for work in (
            it.hub.delivery.retry(others.project_id, hook.id, seq),
            it.hub.delivery.retry(others.project_id, others.hook_id, seq),
            it.hub.delivery.send_test(others.project_id, hook.id),
        ):
            try:
                await work
            except DeliveryRefused:
                continue
            raise AssertionError("not refused")
        assert not it.hooks["others"]

    crossing(tmp_path, scene)
