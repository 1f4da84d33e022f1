"""Keys, tokens and secrets change while the hub works; what is broken is shut alone."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from bellwire.app import Hub
from bellwire.cli import main
from bellwire.db import version
from bellwire.db.sealing_keys import KEY_FILE, new_key
from bellwire.db.secrets import SealBroken, key_id_of
from bellwire.db.tables import apps, integrations
from tests.security.person import person
from tests.support.world import World, live

AUTHORIZATION = "Bearer planted-authorization-0123456789"


def run(it: World, *arguments: str) -> str:
    """A command on this world's data folder, as an operator runs it beside the hub."""
    done = CliRunner().invoke(main, list(arguments), env={"BELLWIRE_DATA_DIR": str(it.hub.settings.data_dir)})
    assert done.exit_code == 0, done.output
    return done.output


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
        file = settings.data_dir / KEY_FILE
        kept = file.read_text()
        file.write_text(new_key())
        with pytest.raises(SealBroken, match="was sealed with key"):
            Hub(settings)
        file.write_text(kept)
        await it.start(settings)

    live(tmp_path, scene)
