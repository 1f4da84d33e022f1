"""Webhook addresses that lead into the operator's own network: refused when entered or when sent, whatever they look like."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.kit.connections import AddressRefused
from bellwire.kit.http import Answer, GuardedClient, TransportError
from bellwire.kit.tcp import connect_checked
from bellwire.stores.base import StoreUnavailable
from tests.support.world import World, live

LOOPBACKS = [
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "0",
    "localhost.",
    "LOCALHOST",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1%25lo]",
    "[fd00:ec2::254]",
    "169.254.169.254",
    "0xa9fea9fe",
    "168.63.129.16",
    "１２７.0.0.1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "ⓛocalhost",
]


class Trap:
    """A listener on the loopback addresses that remembers who connected."""

    def __init__(self) -> None:
        self.callers = 0

    async def open(self) -> int:
        server = await asyncio.start_server(self._greet, "127.0.0.1", 0)
        self._server = server
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _greet(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()


def trapped(scene: Callable[[GuardedClient, int], Any]) -> None:
    """Run with a guarded client and a trap's port; nobody may have walked into it."""

    async def run() -> None:
        trap = Trap()
        port = await trap.open()
        client = GuardedClient()
        try:
            async with asyncio.timeout(30):
                await scene(client, port)
        finally:
            await client.close()
            await trap.close()
        assert trap.callers == 0

    asyncio.run(run())


def test_loopback_by_any_other_name_is_not_connected_to() -> None:
    async def scene(client: GuardedClient, port: int) -> None:
        for host in LOOPBACKS:
            answer = await client.request("POST", f"https://{host}:{port}/", body=b"x", timeout_s=10)
            assert answer.status is None, host
            assert answer.error in (TransportError.BLOCKED, TransportError.INVALID_URL, TransportError.DNS), host

    trapped(scene)


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """A resolver that gives these addresses, one list a question; returns the names it was asked for."""
    asked: list[str] = []
    left = list(answers)

    def look_up(host: str, port: int, family: int = 0, *_args: object, **_named: object) -> list[tuple[Any, ...]]:
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (one, port, 0, 0))
            if ":" in one
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::1"],
        ["10.0.0.1", "127.0.0.1"],
        ["127.0.0.1", "::1", "::ffff:10.0.0.1"],
    ],
)
def test_public_names_of_private_addresses(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    async def scene(client: GuardedClient, port: int) -> None:
        asked = resolving(monkeypatch, found)
        answer = await client.request("POST", f"https://hooks.example.com:{port}/", timeout_s=10)
        assert asked == ["hooks.example.com"]
        assert answer.error is TransportError.BLOCKED

    trapped(scene)


def test_dns_rebinding_between_two_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a check would have been told, the address of the socket is what counts."""

    async def scene(client: GuardedClient, port: int) -> None:
        resolving(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])
        looked_up = socket.getaddrinfo("hooks.example.com", port)
        assert looked_up[0][4][0] == "93.184.215.14"
        for _ in range(3):
            answer = await client.request("POST", f"https://hooks.example.com:{port}/", timeout_s=10)
            assert answer.error is TransportError.BLOCKED

    trapped(scene)


def test_proxies_of_the_environment_lead_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(client: GuardedClient, port: int) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        resolving(monkeypatch, ["127.0.0.1"])
        answer = await client.request("POST", "https://hooks.example.com/", timeout_s=10)
        assert answer.error is TransportError.BLOCKED

    trapped(scene)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:pass@hooks.example.com/",
        "https://hooks.example.com@127.0.0.1/",
        "https://@127.0.0.1/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com/\n",
        "https://hooks.example.com/\r\nHost: evil",
        "https://hooks.example.com /",
        "https://hooks.example.com/\x00",
        "https:///hooks",
        "https://",
        "https://[::1/",
        "https://hooks.example.com:99999/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "javascript:alert(1)",
        "//hooks.example.com/",
    ],
)
def test_urls_that_are_refused_when_entered(url: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"url": url}, WebhookSettings)


def test_webhooks_to_the_hubs_own_network_are_blocked_when_sent(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        port = it.stores_url.rsplit(":", 1)[1]
        made = [
            await it.webhook(f"inward {host}", url=f"https://{host}:{port}/hooks/inward")
            for host in ("127.0.0.1", "localhost.", "LOCALHOST", "[::1]", "[::ffff:7f00:1]")
        ]
        blind = GuardedClient()
        it.hub.delivery._dispatcher._client = blind
        try:
            for one in made:
                await it.hub.delivery.send_test(it.project_id, one.id)
        finally:
            await blind.close()
        found = [row["error"] for one in made for row in it.attempts(one)]
        assert len(found) == len(made)
        assert set(found) <= {"blocked", "dns", "invalid_url"}
        assert not it.hooks["inward"]

    live(tmp_path, scene)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_to_loopback_are_not_followed(tmp_path: Path, code: int) -> None:
    inside: list[str] = []

    async def lead(request: Request) -> Response:
        return RedirectResponse(f"{request.base_url}inside", status_code=code)

    async def catch(request: Request) -> Response:
        inside.append(request.method)
        return Response()

    async def scene(it: World) -> None:
        one = await it.webhook("leads", url=f"{it.stores_url}/lead")
        await it.hub.delivery.send_test(it.project_id, one.id)
        assert [row["status_code"] for row in it.attempts(one)] == [code]

    live(
        tmp_path,
        scene,
        routes=[Route("/lead", lead, methods=["POST"]), Route("/inside", catch, methods=["GET", "POST"])],
    )
    assert not inside


def test_addresses_in_an_apps_settings_count_only_where_the_operator_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key file or setting that names its own token server must not make the hub speak to it."""

    async def scene(it: World) -> None:
        asked: list[str] = []

        async def record(_method: str, url: str, **_named: object) -> Answer:
            asked.append(url)
            return Answer(error=TransportError.CONNECT)

        monkeypatch.setattr(it.hub.client, "request", record)
        await it.call(
            "POST",
            "/v1/receipts",
            {"app_user_id": "u", "fetch_token": "t", "product_id": "pro"},
            it.google_key,
            "android",
        )
        with contextlib.suppress(StoreUnavailable):
            await it.hub.recovery.recover(it.google_app)
        assert asked
        assert not [url for url in asked if url.startswith(it.stores_url)]

    live(tmp_path, scene, allow_test_roots=False)


def test_ssrf_through_the_mail_server_of_an_alert() -> None:
    """The same addresses are shut to what does not speak HTTP."""

    async def scene(_client: GuardedClient, port: int) -> None:
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "::1", "::ffff:127.0.0.1", "0.0.0.0"):  # noqa: S104
            with pytest.raises(OSError, match=r"refused address|not known|no address"):
                await connect_checked(host, port, allow_private=False, timeout_s=10)
        with pytest.raises(AddressRefused, match="cloud metadata"):
            await connect_checked("169.254.169.254", 25, allow_private=True, timeout_s=10)

    trapped(scene)
