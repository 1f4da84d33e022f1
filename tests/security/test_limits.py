"""How much one caller may ask of a running hub, and that none can use up what others need."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bellwire.serve import server_config
from tests.security.person import doors
from tests.support.world import World, live

STRANGER, CUSTOMER = "192.0.2.7", "198.51.100.9"


async def asked(url: str, path: str, key: str = "", *, client: str = STRANGER, method: str = "GET") -> tuple[int, str]:
    """Status and `Retry-After` of one request through a trusted proxy that names its client."""
    headers = {"X-Forwarded-For": client, "X-Platform": "iOS"} | ({"Authorization": f"Bearer {key}"} if key else {})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, headers=headers, data=b"{}" if method == "POST" else None) as answer,
    ):
        await answer.read()
        return answer.status, answer.headers.get("retry-after", "")


def limited(folder: Path, scene: Callable[[World], Awaitable[None]], **settings: Any) -> None:
    live(folder, scene, requests_per_s_per_key=1.0, refusals_per_minute=3, **settings)


def test_guessing_of_keys_and_urls_is_slowed_down_by_address(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        found = [await asked(it.url, "/v1/subscribers/a", "guess") for _ in range(2)]
        found += [await asked(it.url, "/v1/incoming-webhooks/apple/guess", method="POST")]
        found += [
            await asked(it.url, "/v1/subscribers/a"),
            await asked(it.url, "/v1/incoming-webhooks/x/y", method="POST"),
        ]
        assert [status for status, _ in found] == [401, 401, 404, 429, 429]
        assert all(1 <= int(after) <= 20 for _, after in found[3:])
        assert (await asked(it.url, "/v1/subscribers/a", "guess", client=CUSTOMER))[0] == 401
        assert (await asked(it.url, "/v1/subscribers/a", it.apple_key))[0] == 201  # a valid key is no guess

    limited(tmp_path, scene)


def test_a_public_key_is_used_up_by_its_user_alone(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        found = [await asked(it.url, "/v1/subscribers/a", it.apple_key) for _ in range(5)]
        assert [status for status, _ in found][:2] == [201, 200]
        assert found[-1] == (429, "1")
        assert (await asked(it.url, "/v1/receipts", it.apple_key, method="POST"))[
            0
        ] == 503  # a 4xx would end the purchase
        assert (await asked(it.url, "/v1/subscribers/a", it.apple_key, client=CUSTOMER))[0] == 200
        assert (await asked(it.url, "/v1/subscribers/a", it.google_key))[0] == 200
        assert (await asked(it.url, "/v1/subscribers/a", it.secret_key))[0] == 200

    limited(tmp_path, scene)


def test_a_secret_key_has_one_bucket_wherever_it_is_used(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        found = [await asked(it.url, "/v1/subscribers/a", it.secret_key, client=f"192.0.2.{n}") for n in range(4)]
        assert [status for status, _ in found] == [201, 200, 429, 429]

    limited(tmp_path, scene)


def test_stores_are_never_limited_by_what_strangers_send(tmp_path: Path) -> None:
    """Also from the same addresses, as other customers of a store's cloud have them."""

    async def scene(it: World) -> None:
        for _ in range(20):
            assert (await it.push(it.apple.notification_url, b"{}", {"X-Forwarded-For": STRANGER}))[0] == 400
            await asked(it.url, "/v1/incoming-webhooks/apple/guess", method="POST")
        it.apple.purchase("pro_monthly")
        it.google.purchase("pro:monthly")
        message = it.kernel.notifier.history[-1].message
        answer = await it.push(message.url, message.body, {**dict(message.headers_fn()), "X-Forwarded-For": STRANGER})
        assert answer[0] == 200
        await it.settle()
        assert len(it.told()) == 2

    limited(tmp_path, scene)


def test_a_proxy_that_says_nothing_is_not_taken_for_one_client(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        for _ in range(20):
            assert (await it.call("GET", "/v1/subscribers/a", key="guess"))[0] == 401
            assert (await it.call("GET", "/v1/subscribers/a", key=it.apple_key, platform="iOS"))[0] in (200, 201)

    limited(tmp_path, scene)


def test_forwarded_addresses_are_believed_of_trusted_proxies_alone(tmp_path: Path) -> None:
    """Else every guess would come from an address of its own."""

    async def scene(it: World) -> None:
        async with doors(it) as url:
            found = [(await asked(url, "/v1/subscribers/a", client=f"192.0.2.{n}"))[0] for n in range(5)]
            assert found == [401, 401, 401, 429, 429]

    limited(tmp_path, scene, trusted_proxies="10.0.0.1")


async def held(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which half a request was said."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    await writer.drain()
    return reader, writer


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the hub hangs up."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            return await reader.read() == b""
    return True


@pytest.mark.parametrize("proxies", ["127.0.0.1", ""])
def test_connections_that_wait_make_room_for_those_that_speak(tmp_path: Path, proxies: str) -> None:
    async def scene(it: World) -> None:
        async with doors(it, max_connections=8, trusted_proxies=proxies) as url:
            waiting = [await held(url) for _ in range(8)]
            for number in range(5):
                assert (await asked(url, "/healthz"))[0] == 200
                assert await closed(waiting[number][0])
                waiting.append(await held(url))
            for _, writer in waiting:
                writer.close()

    live(tmp_path, scene)


def test_connections_of_one_client_are_counted(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        async with doors(it, max_connections_per_address=3, trusted_proxies="") as url:
            some = [await held(url) for _ in range(3)]
            late = await held(url)
            assert await closed(late[0])
            some[0][1].close()
            async with asyncio.timeout(10):
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        if (await asked(url, "/healthz"))[0] == 200:
                            break
            for _, writer in (*some, late):
                writer.close()

    live(tmp_path, scene)


def test_limits_leave_files_for_everything_else(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        keeper = getattr(server_config(it.hub.web, it.hub.settings).http, "doorkeeper", None)
        assert keeper is not None
        assert 8 <= keeper._most <= it.hub.settings.max_connections

    live(tmp_path, scene)
