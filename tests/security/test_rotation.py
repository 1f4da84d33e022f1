"""Keys, tokens and secrets change while the hub works; what is broken is shut alone."""

import asyncio
import contextlib
import hashlib
import hmac
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.app import Hub
from bellwire.cli import main
from bellwire.db import version
from bellwire.db.sealing_keys import KEY_FILE, new_key
from bellwire.db.secrets import SealBroken, key_id_of
from bellwire.db.tables import apps, integrations
from bellwire.delivery.service import DeliveryRefused
from bellwire.kit.ids import new_token
from tests.security.person import person
from tests.support.world import World, live

AUTHORIZATION = "Bearer planted-authorization-0123456789"


def run(it: World, *arguments: str) -> str:
    """A command on this world's data folder, as an operator runs it beside the hub."""
    done = invoke(it, *arguments)
    assert done.exit_code == 0, done.output
    return done.output


def invoke(it: World, *arguments: str) -> Result:
    """The same, however it ends."""
    data_dir = str(it.hub.settings.data_dir)
    settings = {"BELLWIRE_DATA_DIR": data_dir, "BELLWIRE_ALLOW_PRIVATE_ADDRESSES": "true"}
    return CliRunner().invoke(main, list(arguments), env=settings)


def test_the_sealing_key_changes_under_a_running_hub(tmp_path: Path) -> None:
    """Rotated and retired by commands while purchases and deliveries go on; the hub is never told."""

    async def scene(it: World) -> None:
        hook = await it.webhook("held", authorization=AUTHORIZATION)
        old = it.hub.sealer.current_key_id
        assert await it.post(it.google, it.google.purchase("pro:monthly"), "ada") == 200
        await asyncio.to_thread(run, it, "sealing", "rotate")
        await asyncio.to_thread(run, it, "sealing", "retire", old)
        assert await it.post(it.google, it.google.purchase("pro:monthly"), "bob") == 200
        late = await it.webhook("late", authorization=AUTHORIZATION)
        assert await it.post(it.apple, it.apple.purchase("pro_monthly"), "eve") == 200
        await it.settle()
        assert (len(it.hooks["held"]), len(it.hooks["late"])) == (3, 1)
        for one in it.rows(integrations, integrations.c.id):
            assert key_id_of(one["sealed_secrets"]) == it.hub.sealer.current_key_id != old
        await it.restart()
        assert not it.hub.config.current().unreadable()
        assert {hook.id, late.id} <= it.hub.config.current().integrations.keys()

    live(tmp_path, scene)


def break_seal(it: World, table: sa.Table, row_id: str) -> None:
    """As a bad disk, a hasty hand or a thief would."""
    with it.hub.engine.begin() as connection:
        sealed = bytearray(
            connection.execute(sa.select(table.c.sealed_secrets).where(table.c.id == row_id)).scalar_one()
        )
        sealed[-1] ^= 1
        connection.execute(sa.update(table).where(table.c.id == row_id).values(sealed_secrets=bytes(sealed)))
        version.bump(connection)


def test_one_broken_seal_of_an_integration_is_its_own_trouble(tmp_path: Path) -> None:
    """Nothing is sent without the secrets that were to go with it, and everybody else goes on, also after a restart."""

    async def scene(it: World) -> None:
        hook = await it.webhook("shut", authorization=AUTHORIZATION)
        break_seal(it, integrations, hook.id)
        assert await it.post(it.apple, it.apple.purchase("pro_monthly"), "ada") == 200
        await it.settle()
        await it.restart()
        assert await it.post(it.google, it.google.purchase("pro:monthly"), "bob") == 200
        await it.settle()
        assert len(it.received) == 2
        assert not it.hooks["shut"]
        assert {row["outcome"] for row in it.attempts(hook)} == {"misconfigured"}
        assert "can not be opened" in it.attempts(hook)[0]["reason"]
        async with person(it) as ada:
            for path in ("integrations", f"integrations/{hook.id}"):
                page = (await ada.get(f"/projects/{it.project_id}/{path}")).text
                assert "enter the secrets again" in page
                assert AUTHORIZATION not in page
        assert "unreadable" in run(it, "integration", "list")

    live(tmp_path, scene)


def test_a_shut_integration_is_not_opened_without_its_secrets(tmp_path: Path) -> None:
    """To change its address alone would have gone on without authorization and signature."""
    seen: list[dict[str, str]] = []

    async def receive(request: Request) -> Response:
        seen.append(dict(request.headers))
        return Response()

    async def scene(it: World) -> None:
        url = f"{it.stores_url}/signed"
        hook = await it.webhook("shut", url=url, authorization=AUTHORIZATION, signing_secret=new_token("whsec_"))
        break_seal(it, integrations, hook.id)
        change = ("integration", "update", "webhook", hook.id)
        for some in (("--url", url), ("--authorization", "Bearer b"), ("--url", url, "--no-signing")):
            done = invoke(it, *change, *some)
            assert done.exit_code == 2
            assert "as well" in done.output
        assert invoke(it, *change, "--name", "still shut").exit_code == 0
        assert invoke(it, "integration", "rotate-secret", hook.id).exit_code == 1
        with pytest.raises(DeliveryRefused, match="can not be opened"):
            await it.hub.delivery.send_test(it.project_id, hook.id)
        assert not seen
        run(it, *change, "--authorization", "Bearer b", "--signing")
        async with asyncio.timeout(20):
            while not seen:  # the hub sees another process's change within a quarter of a second
                with contextlib.suppress(DeliveryRefused):
                    await it.hub.delivery.send_test(it.project_id, hook.id)
                await asyncio.sleep(0.05)
        assert seen[0]["authorization"] == "Bearer b"
        assert seen[0]["x-revenuecat-webhook-signature"]

    live(tmp_path, scene, routes=[Route("/signed", receive, methods=["POST"])])


def test_one_broken_seal_of_an_app_is_its_own_trouble(tmp_path: Path) -> None:
    """Stores and SDKs are asked to come again, and the other app takes in what it gets."""

    async def scene(it: World) -> None:
        purchase, other = it.google.purchase("pro:monthly"), it.apple.purchase("pro_monthly")
        await it.settle()
        break_seal(it, apps, it.google_app.id)
        assert await it.post(it.google, purchase, "ada") == 503
        message = it.kernel.notifier.history[0].message
        assert (await it.push(message.url, message.body, dict(message.headers_fn())))[0] == 503
        assert await it.post(it.apple, other, "bob") == 200
        await it.restart()
        assert await it.post(it.apple, it.apple.purchase("basic_monthly"), "bob") == 200
        assert await it.post(it.google, purchase, "ada") == 503
        async with person(it) as ada:
            assert "takes nothing in" in (await ada.get(f"/projects/{it.project_id}/apps")).text
        assert "unreadable" in run(it, "app", "list")

    live(tmp_path, scene)


def test_a_hub_with_another_key_does_not_start(tmp_path: Path) -> None:
    """Where nothing opens at all the key is the wrong one: better no hub than one that refuses everybody."""

    async def scene(it: World) -> None:
        settings = it.hub.settings
        await it.stop()
        (settings.data_dir / KEY_FILE).write_text(new_key())
        with pytest.raises(SealBroken, match="was sealed with key"):
            Hub(settings)

    live(tmp_path, scene)


def test_a_signing_secret_changes_without_a_refused_delivery(tmp_path: Path) -> None:
    """Receivers of Standard Webhooks believe every request with the old secret and with the new one; then the new alone."""
    got: list[tuple[dict[str, str], bytes]] = []
    secrets: list[str] = []

    async def receive(request: Request) -> Response:
        got.append((dict(request.headers), await request.body()))
        return Response()

    def believed(secret: str) -> bool:
        headers, body = got[-1]
        try:
            Webhook(secret).verify(body, headers)
        except WebhookVerificationError:
            return False
        return True

    def believed_by_the_single_signature(secret: str) -> bool:
        headers, body = got[-1]
        sent_at, _, digest = headers["x-revenuecat-webhook-signature"].removeprefix("t=").partition(",v1=")
        return hmac.compare_digest(
            digest, hmac.new(secret.encode(), f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()
        )

    async def scene(it: World) -> None:
        old = new_token("whsec_")
        hook = await it.webhook("s", url=f"{it.stores_url}/signed", signing_secret=old, standard_webhooks=True)
        await it.hub.delivery.send_test(it.project_id, hook.id)
        assert (believed(old), believed_by_the_single_signature(old)) == (True, True)
        new = run(it, "integration", "rotate-secret", hook.id).split("\n")[1]
        assert new.startswith("whsec_")
        await it.hub.delivery.send_test(it.project_id, hook.id)
        assert (believed(old), believed(new), believed_by_the_single_signature(old)) == (True, True, True)
        run(it, "integration", "drop-old-secret", hook.id)
        await it.hub.delivery.send_test(it.project_id, hook.id)
        assert (believed(old), believed(new), believed_by_the_single_signature(new)) == (False, True, True)
        newest = run(it, "integration", "rotate-secret", hook.id, "--at-once").split("\n")[1]
        await it.hub.delivery.send_test(it.project_id, hook.id)
        assert (believed(new), believed(newest), believed_by_the_single_signature(newest)) == (False, True, True)
        secrets.extend((old, new, newest))

    live(tmp_path, scene, routes=[Route("/signed", receive, methods=["POST"])])
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name != KEY_FILE)
    assert len(secrets) == 3
    for secret in secrets:
        assert secret.encode() not in kept


def test_a_notification_url_changes_without_a_lost_message(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.apple.purchase("pro_monthly")
        await it.settle()
        body = it.inbox()[0]["dedup_key"] and json.dumps({"signedPayload": it.apple.mailer.memory[0].signed_payload})
        old = it.apple.notification_url
        new = (
            f"{it.url}/v1/incoming"
            + run(it, "app", "rotate-token", it.apple_app.id).split("/v1/incoming")[1].split()[0]
        )
        assert new != old
        for url in (old, new):
            assert await it.push(url, body.encode()) == (200, {"status": "duplicate"})
        run(it, "app", "drop-old-token", it.apple_app.id)
        assert (await it.push(new, body.encode()))[0] == 200
        async with asyncio.timeout(10):  # another process closed it: seen within a quarter of a second
            while (await it.push(old, body.encode()))[0] != 404:
                await asyncio.sleep(0.05)

    live(tmp_path, scene)


def test_a_revoked_key_opens_nothing_in_a_running_hub(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        made = json.loads(run(it, "key", "create", "second", "--json").splitlines()[-1])
        async with asyncio.timeout(10):
            while (await it.call("GET", "/v1/subscribers/ada", key=made["key"]))[0] == 401:
                await asyncio.sleep(0.05)
        run(it, "key", "revoke", made["id"])
        async with asyncio.timeout(10):
            while (await it.call("GET", "/v1/subscribers/ada", key=made["key"]))[0] != 401:
                await asyncio.sleep(0.05)
        assert (await it.call("GET", "/v1/subscribers/ada"))[0] == 200

    live(tmp_path, scene)
