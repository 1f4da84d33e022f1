"""Planted secrets after a full walk: not in the database file, the pages, the logs, tracebacks, reprs or answers."""

import asyncio
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog
from click.testing import CliRunner
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.app import Hub
from bellwire.cli import main
from bellwire.db.alerts import create_channel
from bellwire.db.apps import list_apps
from bellwire.db.engine import open_engine
from bellwire.db.integrations import list_integrations
from bellwire.db.keys import show_public_key
from bellwire.db.sealing_keys import KEY_FILE
from bellwire.db.tables import api_keys, apps, integrations
from bellwire.delivery.alerts.channels import SlackSettings
from bellwire.destinations.base import OutboundRequest
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.logs import configure_logs
from bellwire.model.projects import Integration
from bellwire.settings import Settings
from tests.security.person import PASSWORD, person
from tests.support.world import World, live

AUTHORIZATION = "Bearer planted-authorization-0123456789"
SLACK = "https://hooks.slack.example/services/planted0123456789"
SIGNING = "whsec_" + "cGxhbnRlZHBsYW50ZWRwbGFudGVkcGxhbnRlZA=="


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, as a process would write it."""
    text = io.StringIO()
    configure_logs(level="debug", as_json=True, file=text, keep=False)
    yield text
    structlog.reset_defaults()


async def echo(request: Request) -> Response:
    """A receiver that shows everything it got, as error pages do."""
    shown = json.dumps({"headers": dict(request.headers), "body": (await request.body()).decode()})
    return Response(shown, 500, headers={"x-echo": request.headers.get("authorization", "")})


def planted(it: World, cookie: str, csrf: str) -> dict[str, str]:
    """What must show nowhere, by its name."""
    credentials = {**it.apple.credentials()["secrets"], **it.google.credentials()["secrets"]}
    p8 = str(credentials["iap_key_p8"]).splitlines()[1]
    pem = json.loads(str(credentials["service_account_json"]))["private_key"].splitlines()[5]
    return {
        "secret key": it.secret_key,
        "public key": it.apple_key,
        "p8": p8,
        "service account key": pem,
        "authorization": AUTHORIZATION,
        "signing secret": SIGNING,
        "signing secret without its prefix": SIGNING.removeprefix("whsec_"),
        "password": PASSWORD,
        "address of a Slack channel": SLACK,
        "session token": cookie.partition("=")[2],
        "sealing key": (it.hub.settings.data_dir / KEY_FILE).read_text().strip(),
    } | ({"csrf token": csrf} if csrf else {})


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file that a thief of the database would have, the write-ahead log with it."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != KEY_FILE}


def test_secrets_after_a_full_walk(tmp_path: Path, logged: io.StringIO) -> None:
    async def scene(it: World) -> None:
        hook = await it.webhook(
            "echo",
            url=f"{it.stores_url}/echo",
            authorization=AUTHORIZATION,
            signing_secret=SIGNING,
            standard_webhooks=True,
        )
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "ada")
        await it.post(it.google, it.google.purchase("pro:monthly"), "bob")
        await it.set_attributes("ada", note="hello")
        await it.settle()
        await it.hub.delivery.send_test(it.project_id, hook.id)
        await it.push(it.apple.notification_url, b"{}", {"authorization": AUTHORIZATION, "cookie": f"a={PASSWORD}"})
        message = it.kernel.notifier.history[-1].message
        token = dict(message.headers_fn())["Authorization"].removeprefix("Bearer ")
        await it.push(
            message.url, message.body, {"Authorization": f"Bearer {token}", "Proxy-Authorization": AUTHORIZATION}
        )
        await it.change(
            lambda connection: create_channel(
                connection,
                it.hub.sealer,
                project_id=it.project_id,
                kind="slack",
                settings=SlackSettings(url=SLACK),
                now_ms=0,
            )
        )
        async with person(it) as ada:
            metrics = await ada.get("/metrics")
            pages = [
                await ada.get(f"/projects/{it.project_id}/{path}")
                for path in ("feed", "apps", "integrations", f"integrations/{hook.id}")
            ]
            pages += [
                await ada.get(f"/projects/{it.project_id}/integrations/{hook.id}/deliveries/{row['event_id']}")
                for row in it.attempts(hook)
            ]
            pages.append(metrics)
            cookie, csrf = ada.cookie, ada.csrf
        assert {page.status for page in pages} == {200}
        assert len(it.attempts(hook)) >= 3
        known = planted(it, cookie, csrf) | {"push token": token.rsplit(".", 1)[1]}
        kept = await asyncio.to_thread(contents, tmp_path)
        assert any(b"pro_monthly" in content for content in kept.values())
        for name, secret in known.items():
            if name != "csrf token":  # a form's token opens nothing without the cookie
                for file, content in kept.items():
                    assert secret.encode() not in content, (name, file)
                for page in pages:
                    assert secret not in page.text, name
            assert secret not in logged.getvalue(), name
        config = it.hub.config.current()
        parts = (config, it.hub.settings, it.hub.sealer, *config.apps.values(), *config.integrations.values())
        for part in parts:
            assert not [name for name, secret in known.items() if secret in repr(part)], type(part)

    live(tmp_path, scene, routes=[Route("/echo", echo, methods=["POST"])])


def test_reprs_of_what_requests_are_built_from() -> None:
    chosen = WebhookSettings(url="https://x.example/", authorization=AUTHORIZATION, signing_secret=SIGNING)
    request = OutboundRequest(
        method="POST", url="https://x.example/?key=planted", headers={"Authorization": AUTHORIZATION}, body=b"planted"
    )
    for part in (chosen, request):
        assert "planted" not in repr(part)
        assert SIGNING not in repr(part)


def test_tracebacks_show_no_values_of_variables(logged: io.StringIO) -> None:
    def fail(secret: str) -> None:
        if secret:
            raise ValueError("broken")

    for as_json in (True, False):
        configure_logs(level="debug", as_json=as_json, file=logged, keep=False)
        try:
            fail("planted" + "-local")
        except ValueError:
            structlog.get_logger().exception("it.failed")
    assert "broken" in logged.getvalue()
    assert "planted-local" not in logged.getvalue()


def test_database_errors_show_no_values(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.begin() as connection, pytest.raises(sa.exc.SQLAlchemyError) as caught:
        connection.execute(sa.text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "planted-value"})
    engine.dispose()
    assert "planted-value" not in str(caught.value)


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    before = os.umask(0)
    try:

        async def run() -> None:
            async with Hub(Settings(data_dir=folder)).running(timers=False):
                await asyncio.sleep(0)
                for file in (folder, *folder.iterdir()):
                    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file.name

        asyncio.run(run())
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("table", "column", "condition"),
    [
        (apps, "sealed_secrets", sa.true()),
        (integrations, "sealed_secrets", sa.true()),
        (api_keys, "sealed_key", api_keys.c.sealed_key.is_not(None)),
    ],
)
def test_swapped_seals_open_nothing(
    tmp_path: Path, table: sa.Table, column: str, condition: sa.ColumnElement[bool]
) -> None:
    """Who may write the database still cannot move one row's secret to another."""

    async def scene(it: World) -> None:
        await it.webhook("second", authorization=AUTHORIZATION)
        with it.hub.engine.begin() as connection:
            rows = connection.execute(sa.select(table.c.id, table.c[column]).where(condition).limit(2)).all()
            assert len(rows) == 2
            for row, other in ((rows[0], rows[1]), (rows[1], rows[0])):
                connection.execute(sa.update(table).where(table.c.id == row.id).values({column: other[1]}))
        with it.hub.read_engine.connect() as connection:
            for row in rows:
                if table is api_keys:
                    assert show_public_key(connection, it.hub.sealer, it.project_id, row.id) is None
                    continue
                listing = list_apps if table is apps else list_integrations
                [shut] = [one for one in listing(connection, it.hub.sealer) if one.id == row.id]
                assert "belongs to another row" in shut.unreadable
                assert AUTHORIZATION not in shut.unreadable
                values = shut.settings if isinstance(shut, Integration) else shut.secrets
                assert not [value for value in values.values() if value in (AUTHORIZATION, SIGNING)]

    live(tmp_path, scene)


def test_commands_show_secrets_once_and_never_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLWIRE_DATA_DIR", str(tmp_path))
    runner = CliRunner()

    def run(*arguments: str) -> str:
        result = runner.invoke(main, list(arguments))
        assert result.exit_code == 0, result.output
        return result.output

    run("project", "create", "Shop")
    made = run(
        "integration",
        "create",
        "webhook",
        "hook",
        "--url",
        "https://x.example/",
        "--authorization",
        AUTHORIZATION,
        "--signing",
        "--json",
    )
    secret = next(word for word in made.replace('"', " ").split() if word.startswith("whsec_"))
    assert AUTHORIZATION not in made
    key = next(word for word in run("key", "create", "server").split() if word.startswith("sk_"))
    for command in (("integration", "list"), ("integration", "list", "--json"), ("key", "list", "--json")):
        shown = run(*command)
        assert AUTHORIZATION not in shown
        assert secret not in shown
        assert key not in shown


def test_commands_refuse_text_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLWIRE_DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(main, ["project", "create", "bad\udcff"])
    assert result.exit_code == 1
    assert "not valid UTF-8" in result.output
    assert "Traceback" not in result.output
