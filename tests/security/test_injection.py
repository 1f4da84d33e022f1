"""SQL through filters and ids, header lines through values, and text that is none."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.delivery.service import DeliveryRefused
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.http import GuardedClient, TransportError
from tests.security.person import person, stranger
from tests.support.world import World, live

SQL = [
    "' OR '1'='1",
    "'; DROP TABLE events; --",
    '" OR ""="',
    "x') UNION SELECT password_hash FROM users --",
    "%",
    "_%",
    "1 OR 1=1",
    "\\' OR 1=1 --",
    "x\x00' OR 1=1",
    "９９９",
    "-1",
    "9" * 19,
    "9" * 5000,
    "1e9",
    "NaN",
]


def test_sql_through_filters_and_ids_of_pages(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "ada")
        await it.settle()
        event_id, hook = it.events()[0]["id"], it.hub.config.current().integrations_of(it.project_id)[0]
        base = f"/projects/{it.project_id}"
        async with person(it) as ada:
            assert event_id in (await ada.get(f"{base}/feed?customer=ada")).text
            for text in SQL:
                value = quote(text, safe="")
                for name in ("customer", "integration"):
                    page = await ada.get(f"{base}/feed?{name}={value}")
                    assert page.status == 200, (name, text)
                    assert event_id not in page.text, (name, text)
                for name in ("status", "type", "environment"):
                    assert (await ada.get(f"{base}/feed?{name}={value}")).status == 200, (name, text)
                for path in (
                    f"/projects/{value}/feed",
                    f"{base}/customers/{value}",
                    f"{base}/events/{value}",
                    f"{base}/integrations/{value}",
                    f"{base}/integrations/{value}/deliveries/{event_id}",
                    f"{base}/integrations/{hook.id}/deliveries/{value}",
                    f"{base}/apps?app={value}",
                ):
                    assert (await ada.get(path)).status == 404, path
                assert (await ada.get(f"{base}/feed/older?before={value}")).status in (200, 404), text
                delivery = f"{base}/integrations/{hook.id}/deliveries/{event_id}"
                assert (await ada.get(f"{delivery}?attempt={value}")).status == 200, text
                form = {"csrf": ada.csrf, "kind": text, "subject": text}
                assert (await ada.ask("POST", f"{base}/notices/dismiss", form=form)).status == 303
        assert it.events()

    live(tmp_path, scene)


def test_sql_through_ids_and_attributes_of_the_wire(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "ada")
        for text in SQL:
            path = f"/v1/subscribers/{quote(text, safe='')}"
            status, answer = await it.call("GET", path)
            assert status in (200, 201, 400), text
            if status < 300:
                assert answer["subscriber"]["original_app_user_id"] == text
                assert answer["subscriber"]["subscriptions"] == {}
                changes = {"attributes": {"note": {"value": text}}}
                assert (await it.call("POST", f"{path}/attributes", changes))[0] in (200, 400)
            changes = {"attributes": {text: {"value": "x"}}}
            status, _ = await it.call("POST", "/v1/subscribers/eve/attributes", changes)
            assert status == (200 if text.isalpha() else 400), text
            key = "".join(letter for letter in f"sk_{text}" if 32 <= ord(letter) < 127)
            assert (await it.call("GET", "/v1/subscribers/ada", key=key))[0] == 401, text
        assert await it.entitled("ada")

    live(tmp_path, scene)


@pytest.mark.parametrize("segment", ["%00", "a%00b", "%ff", "%c0%af", "%ed%a0%80", "%F0%28%8C%28"])
def test_text_that_is_none_in_every_path(tmp_path: Path, segment: str) -> None:
    async def scene(it: World) -> None:
        for method, path in (
            ("GET", f"/v1/subscribers/{segment}"),
            ("POST", f"/v1/subscribers/{segment}/attributes"),
            ("GET", f"/v1/{segment}"),
            ("POST", f"/v1/incoming-webhooks/{segment}/token"),
            ("POST", f"/v1/incoming-webhooks/apple/{segment}"),
            ("POST", f"/v1/config/{segment}"),
        ):
            assert 400 <= await _status(it, method, path) < 500, path

    live(tmp_path, scene)


@pytest.mark.parametrize("text", ["\\u0000", "a\\u0000b", "\\ud800", "\\udfff\\ud800"])
def test_text_that_is_none_in_every_body(tmp_path: Path, text: str) -> None:
    bodies: Mapping[str, str] = {
        "/v1/receipts": '{"app_user_id": "%s", "fetch_token": "t"}',
        "/v1/subscribers/identify": '{"app_user_id": "a", "new_app_user_id": "%s"}',
        "/v1/subscribers/a/alias": '{"new_app_user_id": "%s"}',
        "/v1/subscribers/a/attributes": '{"attributes": {"note": {"value": "%s"}}}',
        "/v1/subscribers/b/attributes": '{"attributes": {"%s": {"value": "x"}}}',
    }

    async def scene(it: World) -> None:
        for path, body in bodies.items():
            status, answer = await it.push(
                it.url + path, (body % text).encode(), {"Authorization": f"Bearer {it.apple_key}", "X-Platform": "iOS"}
            )
            assert status == 400, path
            assert answer["message"]
        for url in (it.apple.notification_url, it.google.notification_url):
            body = f'{{"signedPayload": "{text}", "message": {{"data": "{text}"}}}}'
            status, _ = await it.push(url, body.encode())
            assert status in (400, 401)

    live(tmp_path, scene)


@pytest.mark.parametrize("value", ["x\r\nX-Evil: 1", "x\n", "x\r", "x\nX-Evil: 1", "\x00", "x\x0b", "\x7f"])
def test_line_breaks_in_credentials(value: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"url": "https://x.example/", "authorization": value}, WebhookSettings)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {"url": "https://x.example/", "signing_secret": "whsec_0123456789abcdef" + value}, WebhookSettings
        )


def test_header_lines_through_what_is_sent(tmp_path: Path) -> None:
    """Settings that were stored before they were checked still break out of nothing."""
    got: list[dict[str, str]] = []

    async def receive(request: Request) -> Response:
        got.append(dict(request.headers))
        return Response()

    async def scene(it: World) -> None:
        for value in ("x\r\nX-Evil: 1", "x\nX-Evil: 1", "x\rX-Evil: 1"):
            hook = await it.webhook("evil", url=f"{it.stores_url}/evil", authorization=value)
            with pytest.raises(DeliveryRefused, match="settings can not be used"):
                await it.hub.delivery.send_test(it.project_id, hook.id)
            rows = it.attempts(hook)
            assert all(row["status_code"] is None for row in rows)
            assert not [row for row in rows if "X-Evil" in str(dict(row))]
        await it.webhook("good", url=f"{it.stores_url}/evil")
        await it.post(it.apple, it.apple.purchase("pro_monthly"), "ada\u2028X-Evil: 1")
        await it.settle()
        client: GuardedClient = it.hub.client
        answer = await client.request("POST", f"{it.stores_url}/evil", headers={"X-A": "b\r\nX-Evil: 1"})
        assert answer.error is TransportError.INVALID_URL

    live(tmp_path, scene, routes=[Route("/evil", receive, methods=["POST"])])
    assert got
    assert not [headers for headers in got if "x-evil" in headers]


async def _status(it: World, method: str, path: str) -> int:
    """One request with a good key, its path as it is."""
    async with stranger(it.url) as somebody:
        answer = await somebody.ask(method, path, authorization=f"Bearer {it.apple_key}", x_platform="iOS")
        assert answer.headers["content-type"] == "application/json"
        return answer.status
