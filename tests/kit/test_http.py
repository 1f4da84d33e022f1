"""The guarded client against a server that does its worst (architecture D10)."""

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from email.utils import format_datetime
from importlib.metadata import version
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bellwire.kit.http import Answer, GuardedClient, TransportError, parse_retry_after
from tests.support.rude_server import (
    RudeServer,
    drip,
    gzip_bomb,
    half_answer,
    hang,
    hang_in_body,
    hang_up,
    raw,
    reset,
    rude_server,
    status,
    ten_megabytes,
)

Scene = Callable[[RudeServer, GuardedClient], Awaitable[None]]


@asynccontextmanager
async def open_client(*, allow_private: bool = True) -> AsyncIterator[GuardedClient]:
    client = GuardedClient(allow_private=allow_private)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture(autouse=True, params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds on both loops: the hub runs on uvloop, tests and tools mostly on the plain one."""
    monkeypatch.setitem(globals(), "new_loop", request.param)


new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop


def run(main: Callable[[], Coroutine[object, object, None]]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def play(scene: Scene) -> None:
    async def main() -> None:
        async with rude_server() as server, open_client() as client:
            await asyncio.wait_for(scene(server, client), 30)

    run(main)


def test_a_plain_exchange() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/a"] = status(201, b"made", X_Kind="One", Set_Cookie="a=1")
        answer = await client.request("POST", f"{server.base_url}/a?b=c", headers={"X-Mine": "yes"}, body=b"{}")
        assert (answer.status, answer.body, answer.error, answer.truncated) == (201, b"made", None, False)
        assert answer.headers["x-kind"] == "One"
        assert {"connect", "first_byte", "total"} <= answer.timings.keys()
        assert answer.timings["total"] == answer.duration_ms
        request = server.requests[0]
        assert (request.method, request.target, request.body) == ("POST", "/a?b=c", b"{}")
        assert request.headers["x-mine"] == "yes"
        assert request.headers["user-agent"].startswith("Bellwire/")

    play(scene)


def test_stages_are_timed_where_there_are_any() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        url = f"http://localhost:{server.port}/"
        answers = [await client.request("GET", url) for _ in range(2)]
        assert [sorted(answer.timings) for answer in answers] == [
            ["connect", "dns", "first_byte", "total"],
            ["first_byte", "total"],
        ]

    play(scene)


def test_connections_are_kept_and_cookies_are_not() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = status(200, b"", Set_Cookie="a=1")
        for _ in range(3):
            assert (await client.request("GET", f"{server.base_url}/")).status == 200
        assert server.connections == 1
        assert all("cookie" not in request.headers for request in server.requests)

    play(scene)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(code: int) -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/from"] = status(code, b"", Location=f"{server.base_url}/to")
        answer = await client.request("POST", f"{server.base_url}/from", body=b"x")
        assert (answer.status, answer.error) == (code, None)
        assert server.to("/to") == []

    play(scene)


@pytest.mark.parametrize("reply", [hang, hang_in_body, drip])
def test_one_deadline_over_everything(reply: Callable[..., Awaitable[None]]) -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = reply
        answer = await client.request("POST", f"{server.base_url}/", body=b"x", timeout_s=0.2)
        assert answer.error is TransportError.TIMEOUT
        assert "0.2 s" in answer.error_detail

    play(scene)


@pytest.mark.parametrize("reply", [reset, hang_up, half_answer])
def test_connections_that_break(reply: Callable[..., Awaitable[None]]) -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = reply
        answer = await client.request("POST", f"{server.base_url}/", body=b"x")
        assert answer.error is TransportError.RESET
        assert answer.error_detail

    play(scene)


def test_what_arrived_before_the_break_is_kept() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = half_answer
        answer = await client.request("GET", f"{server.base_url}/")
        assert (answer.status, answer.body) == (200, b"half")

    play(scene)


@pytest.mark.parametrize(
    "answer_bytes",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 nope\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
    ],
    ids=["ssh", "status", "length", "long header", "many headers", "binary"],
)
def test_what_is_no_http(answer_bytes: bytes) -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = raw(answer_bytes)
        answer = await client.request("GET", f"{server.base_url}/", timeout_s=5)
        assert answer.error is TransportError.PROTOCOL

    play(scene)


def test_long_answers_are_cut() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = ten_megabytes
        answer = await client.request("GET", f"{server.base_url}/")
        assert (answer.status, answer.error, answer.truncated) == (200, None, True)
        assert answer.body == b"x" * 65536
        whole = await client.request("GET", f"{server.base_url}/", max_response_bytes=10 * 2**20)
        assert (len(whole.body), whole.truncated) == (10 * 2**20, False)

    play(scene)


def test_gzip_bombs_stay_small() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = gzip_bomb()
        answer = await client.request("GET", f"{server.base_url}/")
        assert (answer.status, answer.error, answer.truncated) == (200, None, True)
        assert answer.body == b"\0" * 65536

    play(scene)


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"X-A": "b\r\nX-Evil: 1"}, "X-A"),
        ({"X-A": "b\nc"}, "X-A"),
        ({"X-A": "b\0c"}, "X-A"),
        ({"X-A": "\ud800"}, "X-A"),
        ({"X-A: 1\r\nX-B": "c"}, "no header name"),
        ({"X A": "c"}, "no header name"),
        ({"": "c"}, "no header name"),
    ],
)
def test_headers_that_would_break_out_are_refused(headers: dict[str, str], named: str) -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        answer = await client.request("GET", f"{server.base_url}/", headers=headers)
        assert answer.error is TransportError.INVALID_URL
        assert named in answer.error_detail
        assert "Evil" not in answer.error_detail
        assert server.requests == []

    play(scene)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "example.com",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://user:secret@127.0.0.1/",
        "http://secret@127.0.0.1/",
        "http://@127.0.0.1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX-Evil: 1",
        "http://127.0.0.1\\@example.com/",
        "http://127.0.0.1/\0",
        " http://127.0.0.1/",
        "http://[::1/",
        "http://[zz]/",
        "http://2130706433/",
        "http://127.1/",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    async def main() -> None:
        async with open_client() as client:
            answer = await client.request("GET", url)
            assert answer.error is TransportError.INVALID_URL
            assert "secret" not in answer.error_detail

    run(main)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "Upgrade", "Expect"])
def test_what_frames_a_message_is_not_a_callers_to_say(name: str) -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        answer = await client.request("POST", f"{server.base_url}/", headers={name: "0"}, body=b"GET /evil HTTP/1.1")
        assert answer.error is TransportError.INVALID_URL
        assert name in answer.error_detail
        assert server.requests == []

    play(scene)


def test_the_head_on_the_wire() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        await client.request("post", f"{server.base_url}/a/%C3%A9?b=%20", headers={"user-agent": "Mine"}, body=b"x")
        await client.request("PUT", f"{server.base_url}/", headers={"Host": "other.example"})
        await client.request("GET", f"http://localhost:{server.port}/?c")
        heads = [request.raw_head.decode().split("\r\n") for request in server.requests]
        accept = ["Accept: */*", "Accept-Encoding: gzip, deflate"]
        ours = f"User-Agent: Bellwire/{version('bellwire')}"
        local = server.base_url.removeprefix("http://")
        assert [[line for line in head if line] for head in heads] == [
            ["POST /a/%C3%A9?b=%20 HTTP/1.1", f"Host: {local}", *accept, "user-agent: Mine",
             "Content-Type: application/octet-stream", "Content-Length: 1"],
            ["PUT / HTTP/1.1", ours, *accept, "Host: other.example", "Content-Length: 0"],
            ["GET /?c HTTP/1.1", f"Host: localhost:{server.port}", ours, *accept],
        ]  # fmt: skip

    play(scene)


def test_an_answer_may_be_announced() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        server.replies["/"] = raw(b"HTTP/1.1 100 Continue\r\n\r\n" + early + b"HTTP/1.1 204 No Content\r\n\r\n")
        for _ in range(2):
            answer = await client.request("POST", f"{server.base_url}/", body=b"x")
            assert (answer.status, answer.error, answer.body) == (204, None, b"")
            assert "link" not in answer.headers

    play(scene)


def test_head_has_no_body() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        answer = await client.request("HEAD", f"{server.base_url}/", timeout_s=5)
        assert (answer.status, answer.error, answer.body) == (200, None, b"")

    play(scene)


def test_an_answer_before_the_body_was_read_ends_the_connection() -> None:
    """A connection on which our body is still on its way out must not carry the next request."""

    async def scene(_: RudeServer, client: GuardedClient) -> None:
        served: list[asyncio.Task[None]] = []

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            served.append(task)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while await reader.read(2**20):  # ends when the client gives the rest of the body up
                    pass
            writer.transport.abort()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            for number in (1, 2):
                answer = await client.request("POST", url, body=b"x" * 2**26)
                assert (answer.status, len(served)) == (413, number)
            await asyncio.gather(*served)

    play(scene)


def test_methods_can_not_smuggle() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        answer = await client.request("GET / HTTP/1.1\r\nX: ", f"{server.base_url}/")
        assert answer.error is TransportError.INVALID_URL

    play(scene)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "0.0.0.0", "[::ffff:7f00:1]"])  # noqa: S104
def test_private_addresses_are_not_connected_to(host: str) -> None:
    async def main() -> None:
        async with rude_server() as server, open_client(allow_private=False) as client:
            answer = await client.request("GET", f"https://{host}:{server.port}/")
            assert answer.error is TransportError.BLOCKED
            assert "refused address" in answer.error_detail
            assert server.connections == 0

    run(main)


def test_plain_http_needs_the_operators_leave() -> None:
    async def main() -> None:
        async with open_client(allow_private=False) as client:
            answer = await client.request("GET", "http://example.com/")
            assert answer.error is TransportError.INVALID_URL
            assert "https" in answer.error_detail

    run(main)


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def scene(server: RudeServer, client: GuardedClient) -> None:
        assert (await client.request("GET", f"{server.base_url}/")).status == 200

    play(scene)


def test_names_that_do_not_resolve() -> None:
    async def main() -> None:
        async with open_client() as client:
            for host in ("does-not-exist.invalid", "does_not_exist.invalid."):
                answer = await client.request("GET", f"https://{host}/")
                assert answer.error is TransportError.DNS
                assert host in answer.error_detail

    run(main)


def test_nobody_listens() -> None:
    async def main() -> None:
        async with rude_server() as server:
            url = server.base_url
        async with open_client() as client:
            assert (await client.request("GET", url)).error is TransportError.CONNECT

    run(main)


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_a_certificate_of_nobody_we_know(tmp_path: Path) -> None:
    async def main() -> None:
        async with rude_server(self_signed(tmp_path)) as server, open_client() as client:
            answer = await client.request("GET", server.base_url)
            assert answer.error is TransportError.TLS
            assert "certificate" in answer.error_detail
            assert server.requests == []

    run(main)


def test_tls_to_a_plain_server() -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with server, open_client() as client:
            port = server.sockets[0].getsockname()[1]
            answer = await client.request("GET", f"https://127.0.0.1:{port}/")
            assert answer.error is TransportError.TLS

    run(main)


def test_headers_that_are_no_text() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = raw(b"HTTP/1.1 200 OK\r\nX-A: \xff\xfe\r\nX-B: 1\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n")
        answer = await client.request("GET", f"{server.base_url}/")
        assert answer.headers["x-b"] == "1, 2"
        assert answer.headers["x-a"].encode()

    play(scene)


def test_cancelling_closes_the_connection() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = hang
        task = asyncio.create_task(client.request("GET", f"{server.base_url}/"))
        await server.until("/", 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.request("GET", f"{server.base_url}/other")).status == 200
        assert server.connections == 2

    play(scene)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("-5", None),
        ("1e9", None),
        ("soon", None),
        ("", None),
        ("99999999999999999999", None),
        (format_datetime(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), usegmt=True), 600.0),
        (format_datetime(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), usegmt=True), 0.0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    now = datetime.datetime(2025, 12, 31, 23, 50, tzinfo=datetime.UTC).timestamp()
    assert parse_retry_after(value, now_s=now) == seconds


def test_retry_after_is_in_the_answer() -> None:
    async def scene(server: RudeServer, client: GuardedClient) -> None:
        server.replies["/"] = status(503, b"", Retry_After="17")
        answer: Answer = await client.request("GET", f"{server.base_url}/")
        assert answer.retry_after_s == 17.0

    play(scene)
