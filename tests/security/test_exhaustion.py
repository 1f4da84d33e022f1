"""Bodies, headers, connections and streams that would use the hub up."""

import asyncio
import base64
import contextlib
import json
from pathlib import Path

import aiohttp
import pytest
import sqlalchemy as sa

from bellwire.db.tables import attributes, customers
from bellwire.kit.doorstep import MAX_HEAD_BYTES
from bellwire.serve import server_config
from bellwire.web.dashboard import stream
from bellwire.web.sdk.attributes import MAX_CHANGES
from tests.security.person import doors, person, stranger
from tests.support.world import World, live


async def spoken(url: str, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Say these bytes and listen until the hub hangs up."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause_s)
                return await reader.read()
            return b""
    finally:
        writer.close()


HEAD = b"POST /v1/receipts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"


def test_slow_senders_are_hung_up_on(tmp_path: Path) -> None:
    """Each would be waited for without end: nothing said, half a head, a body that drips, empty lines."""

    async def scene(it: World) -> None:
        head = HEAD % it.apple_key.encode()
        async with doors(it, request_timeout_s=0.3) as url:
            slow: list[list[bytes]] = [
                [],
                [b"POST /v1/rec"],
                [b"\r\n"] * 5,
                [head],
                [head, *[b"x: y\r\n"] * 20],
                [head + b"content-length: 1000\r\n\r\n", *[b"{"] * 20],
                [head + b"transfer-encoding: chunked\r\n\r\n", *[b"1\r\n{\r\n"] * 20],
                [b"POST /login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n", *[b"a"] * 20],
            ]
            for pieces in slow:
                assert b" 200 " not in await spoken(url, *pieces, pause_s=0.05)

    live(tmp_path, scene)


def test_the_deadline_is_not_one_for_answers(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        async with person(it) as ada, doors(it, request_timeout_s=0.2) as url, aiohttp.ClientSession() as session:
            feed = f"{url}/projects/{it.project_id}/feed/stream"
            async with session.get(feed, headers={"cookie": ada.cookie}) as answer:
                hook = it.hub.config.current().integrations_of(it.project_id)[0]
                await answer.content.readuntil(b"\n\n")
                await asyncio.sleep(0.5)
                await it.hub.delivery.send_test(it.project_id, hook.id)
                assert b"event: rows" in await answer.content.readuntil(b"\n\n")
            for _ in range(3):
                async with session.get(f"{url}/healthz") as again:
                    assert again.status == 200
                await asyncio.sleep(0.1)

    live(tmp_path, scene)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * (4 * MAX_HEAD_BYTES) + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncookie: " + b"a" * (64 * MAX_HEAD_BYTES),
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * MAX_HEAD_BYTES,
    ],
)
def test_endless_headers(tmp_path: Path, head: bytes) -> None:
    async def scene(it: World) -> None:
        pieces = [head[at : at + 16_384] for at in range(0, len(head), 16_384)]
        async with doors(it) as url:
            answer = await spoken(url, *pieces)
            assert answer == b"" or answer.split(b" ")[1] in (b"400", b"431")

    live(tmp_path, scene)


@pytest.mark.parametrize(
    "length", [b"99999999999999999999999999", b"9" * 5000, b"-1", b"1e9", b"\xb2", b"0x10", b"1, 2"]
)
def test_content_length_that_is_gigantic_or_none(tmp_path: Path, length: bytes) -> None:
    async def scene(it: World) -> None:
        async with doors(it, request_timeout_s=1.0) as url:
            answer = await spoken(url, HEAD % it.apple_key.encode() + b"content-length: " + length + b"\r\n\r\n{}")
            assert answer == b"" or answer.split(b" ")[1] in (b"400", b"413")

    live(tmp_path, scene)


def test_two_lengths_smuggle_no_second_request(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        inner = (
            b"GET /v1/subscribers/smuggled HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n\r\n"
            % it.apple_key.encode()
        )
        for lengths in (
            b"content-length: 0\r\ncontent-length: %d\r\n" % len(inner),
            b"transfer-encoding: chunked\r\ncontent-length: %d\r\n" % len(inner),
            b"transfer-encoding: xchunked\r\n",
            b"transfer-encoding : chunked\r\n",
        ):
            async with doors(it, request_timeout_s=0.5) as url:
                answer = await spoken(url, b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\n" + lengths + b"\r\n" + inner)
                assert answer.count(b"HTTP/1.1") <= 1, lengths
        with it.hub.read_engine.connect() as connection:
            assert not connection.execute(sa.select(customers.c.id)).all()

    live(tmp_path, scene)


def test_deep_and_huge_json(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        deep = b"[" * 400_000
        bodies = (
            deep,
            deep + b"]" * 400_000,
            b'{"x":' + deep + b"]" * 400_000 + b', "attributes": {}}',
            b'{"attributes": {"a": ' + b'{"a":' * 150_000 + b"1" + b"}" * 150_000 + b"}}",
            b'{"attributes": {"a": {"value": ' + b"9" * 900_000 + b"}}}",
            b'{"attributes": {"a": {"value": 1e999999}}}',
            b'{"attributes": {"a": {"value": "x", "updated_at_ms": 1e308}}}',
            b'{"attributes": {"a": {"value": "x", "updated_at_ms": -' + b"9" * 4000 + b"}}}",
            b'{"attributes": {"\\u0000' + b"a" * 900_000 + b'": {"value": "x"}}}',
        )
        headers = {"Authorization": f"Bearer {it.secret_key}"}
        for body in bodies:
            for path in ("/v1/subscribers/a/attributes", "/v1/receipts"):
                status, _ = await it.push(it.url + path, body, headers)
                assert status == 400, body[:40]
            for url in (it.apple.notification_url, it.google.notification_url):
                assert (await it.push(url, body))[0] in (400, 401), body[:40]
        for price in ("1e999999999", "1e-999999999", "-1", "NaN", '"Infinity"', "9" * 4000):
            raw = f'{{"app_user_id": "a", "fetch_token": "t", "price": {price}}}'.encode()
            assert (await it.push(f"{it.url}/v1/receipts", raw, headers | {"X-Platform": "iOS"}))[0] == 400, price

    live(tmp_path, scene)


def test_deep_json_inside_tokens(tmp_path: Path) -> None:
    """What is decoded before any signature can be checked."""

    async def scene(it: World) -> None:
        deep = base64.urlsafe_b64encode(b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}").rstrip(b"=").decode()
        plain = base64.urlsafe_b64encode(b'{"alg": "ES256", "x5c": []}').rstrip(b"=").decode()
        for token in (f"{deep}.{plain}.AAAA", f"{plain}.{deep}.AAAA"):
            body = json.dumps({"signedPayload": token}).encode()
            assert (await it.push(it.apple.notification_url, body))[0] == 400
            receipt = {"app_user_id": "a", "fetch_token": token}
            assert (await it.call("POST", "/v1/receipts", receipt, it.apple_key, "iOS"))[0] == 400
            push = {"Authorization": f"Bearer {token[:30_000]}.{token[-40:]}"}
            assert (await it.push(it.google.notification_url, b"{}", push))[0] == 401
        head = base64.urlsafe_b64encode(b"[" * 5000 + b"]" * 5000).rstrip(b"=").decode()
        push = {"Authorization": f"Bearer {head}.{plain}.AAAA"}
        async with doors(it) as url:
            assert (await it.push(it.google.notification_url.replace(it.url, url), b"{}", push))[0] == 401

    live(tmp_path, scene)


def test_many_attributes(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        many = {f"k{number}": {"value": "v"} for number in range(40_000)}
        status, answer = await it.call("POST", "/v1/subscribers/a/attributes", {"attributes": many})
        assert status == 400
        assert len(json.dumps(answer)) < 1000
        for start in range(0, 5 * MAX_CHANGES, MAX_CHANGES):
            some = dict(list(many.items())[start : start + MAX_CHANGES])
            assert (await it.call("POST", "/v1/subscribers/a/attributes", {"attributes": some}))[0] == 400
        with it.hub.read_engine.connect() as connection:
            assert len(connection.execute(sa.select(attributes.c.name)).all()) <= 100

    live(tmp_path, scene)


def test_open_feeds_of_one_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STREAMS_PER_SESSION", 3)

    async def scene(it: World) -> None:
        async with person(it) as ada, aiohttp.ClientSession() as session:
            url = f"{it.url}/projects/{it.project_id}/feed/stream"
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(3):
                    answer = await stack.enter_async_context(session.get(url, headers={"cookie": ada.cookie}))
                    await answer.content.readuntil(b"\n\n")
                assert (await ada.get(f"/projects/{it.project_id}/feed/stream")).status == 429
            async with asyncio.timeout(20):
                while True:  # those that were closed count no more
                    async with session.get(url, headers={"cookie": ada.cookie}) as answer:
                        if answer.status == 200:
                            break
                    await asyncio.sleep(0.05)

    live(tmp_path, scene)


def test_the_process_serves_with_these_limits(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        config = server_config(it.hub.web, it.hub.settings)
        assert getattr(config.http, "request_timeout_s", None) == it.hub.settings.request_timeout_s == 30.0
        assert config.ws == "none"
        assert config.forwarded_allow_ips == ["127.0.0.1", "::1"]
        async with doors(it) as url, stranger(url) as nobody:
            upgrade = {
                "connection": "upgrade",
                "upgrade": "websocket",
                "sec_websocket_key": "x",
                "sec_websocket_version": "13",
            }
            assert (await nobody.get("/projects/x/feed/stream", **upgrade)).status == 401

    live(tmp_path, scene)


LOGIN = b"POST /login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (LOGIN + b"1\r\na\r\n0\r\n", b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 1000),
        (LOGIN + b"1\r\na\r\n0\r\nX: ", b"y" * 65_536),
        (LOGIN + b"1;", b"y" * 65_536),
        (LOGIN, b"1;yyyyyyyy\r\na\r\n" * 4000),
        (LOGIN, b"0" * 65_536),
        (b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 2000),
    ],
    ids=["trailers", "one trailer", "a chunk's extension", "tiny chunks", "a chunk's size", "pipelined requests"],
)
def test_endless_bytes_that_are_no_body(tmp_path: Path, first: bytes, again: bytes) -> None:
    """Trailers filled the memory with four times their bytes until the deadline, without a key."""

    async def scene(it: World) -> None:
        async with doors(it) as url:
            host, port = url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(first)
            sent = 0
            async with asyncio.timeout(20):
                while not writer.is_closing() and sent < 64_000_000:
                    with contextlib.suppress(ConnectionError):
                        writer.write(again)
                        await writer.drain()
                        await asyncio.sleep(0)
                        sent += len(again)
            assert sent < 16_000_000
            writer.transport.abort()

    live(tmp_path, scene)


def test_headers_behind_the_body_are_none(tmp_path: Path) -> None:
    """They would be found among the others by whoever looks after the body has come."""

    async def scene(it: World) -> None:
        async with doors(it) as url:
            head = HEAD % it.secret_key.encode()
            body = b'{"app_user_id": "a", "fetch_token": "x"}'
            chunked = b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
            answer = await spoken(url, head + chunked + b"x-platform: ios\r\n\r\n")
            assert b"X-Platform is missing" in answer
            assert b" 400 " in answer.splitlines()[0]

    live(tmp_path, scene)


def test_strangers_who_hang_up_do_not_fill_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(it: World) -> None:
        async with doors(it) as url:
            for _ in range(5):
                host, port = url.removeprefix("http://").split(":")
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(LOGIN + b"1\r\na\r\n")
                await writer.drain()
                writer.transport.abort()
            async with stranger(url) as nobody:
                assert (await nobody.get("/login")).status == 200

    live(tmp_path, scene)
    assert "Traceback" not in capsys.readouterr().out
