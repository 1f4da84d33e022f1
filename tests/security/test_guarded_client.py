"""The guarded client against the whole list of tricks: where it may go, what it may say, how long it listens."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bellwire.kit.addresses import refusal, refusal_always
from bellwire.kit.connections import AddressRefused, is_this_machine, socket_opener
from bellwire.kit.http import GuardedClient, TransportError
from bellwire.kit.requests import UnusableRequest, check_headers, check_url
from tests.kit.test_http import self_signed
from tests.support.rude_server import Received, Reply, raw, rude_server, status

# ---- addresses

INWARD = {
    "loopback": "127.0.0.1",
    "all of loopback": "127.255.255.254",
    "unspecified": "0.0.0.0",  # noqa: S104
    "this network": "0.0.0.1",
    "private": "10.0.0.1",
    "carrier": "100.64.0.1",
    "link-local": "169.254.0.1",
    "metadata": "169.254.169.254",
    "containers' metadata": "169.254.170.2",
    "Azure's metadata": "168.63.129.16",
    "Alibaba's metadata": "100.100.100.200",
    "Oracle's metadata": "192.0.0.192",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
}


def carriers(inner: str) -> dict[str, str]:
    """Addresses that some network or library turns into `inner`."""
    number = int(IPv4Address(inner))
    high, low = number >> 16, number & 0xFFFF
    tail = f"{high:x}:{low:x}"
    return {
        "mapped": f"::ffff:{inner}",
        "mapped in hex": f"::ffff:{tail}",
        "mapped with a zone": f"::ffff:{inner}%1",
        "compatible": f"::{inner}" if number > 1 else "::1",
        "translated (RFC 2765)": f"::ffff:0:{tail}",
        "NAT64": f"64:ff9b::{tail}",
        "NAT64, local": f"64:ff9b:1::{tail}",
        "NAT64, local, /96": f"64:ff9b:1:ffff:ffff:ffff:{tail}",
        "6to4": f"2002:{tail}::1",
        "Teredo, server": f"2001:0:{tail}::1",
        "Teredo, client": f"2001:0:4136:e378:8000:63bf:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}",
        "ISATAP": f"2001:4860:0:1:0:5efe:{tail}",
        "ISATAP, universal": f"2001:4860:0:1:200:5efe:{tail}",
        "ISATAP, link-local": f"fe80::5efe:{tail}",
        "discard": f"100::{tail}",
        "segment routing": f"5f00::{tail}",
    }


@pytest.mark.parametrize("inner", INWARD.values(), ids=INWARD)
def test_address_classification_of_all_that_leads_inward(inner: str) -> None:
    assert refusal(inner)
    for name, carrier in carriers(inner).items():
        assert refusal(carrier), name


@pytest.mark.parametrize(
    "address", ["::", "::1", "ff01::1", "ff02::1", "ff05::1:3", "fe80::1", "fe80::1%lo", "fec0::1", "fd00::1", "fc00::"]
)
def test_address_classification_of_scopes(address: str) -> None:
    assert refusal(address)


@pytest.mark.parametrize(
    "address", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "127.0.0.1.", "１２７.0.0.1", "127.0.0.1\n", "", "::1]"]
)
def test_address_classification_of_what_is_no_address(address: str) -> None:
    assert refusal(address) == "not a numeric address"


def test_no_private_address_is_ordinary_by_pythons_own_table() -> None:
    """A second opinion: whatever the standard library calls not global is refused here too."""
    spaces = [(int(IPv4Address(0)), 32, IPv4Address), (int(IPv6Address("2000::")), 125, IPv6Address)]
    for base, bits, kind in spaces:
        for number in range(8192):
            address = kind(base + (number * 2654435761 << max(0, bits - 32)) % (1 << bits))
            if not address.is_global:
                assert refusal(str(address)), address


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fd20:ce::254"]
)
def test_ssrf_to_cloud_metadata_stays_shut_in_private_networks(address: str) -> None:
    assert refusal_always(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(AddressRefused, match="cloud metadata"):
        socket_opener(allow_private=True, own_port=None)((family, socket.SOCK_STREAM, 6, "", (address, 80)))
    assert refusal_always("10.0.0.1") is None


# ---- URLs

URLS_OF_NO_PLAIN_HOST = [
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0/",
    "https://1.1.1.1.1/",
    "https://08.8.8.8/",
    "https://127.0.0.1./",
    "https://127.0.0.1../",
    "https://a.0x/",
    "https://%31%32%37.0.0.1/",
    "https://127%2e0%2e0%2e1/",
    "https://127.0.0.1%00.example/",
    "https://a.example%23@127.0.0.1/",
    "https://a.example%2f@127.0.0.1/",
    "https://a.example%0d%0aHost:evil/",
    "https://[127.0.0.1]/",
    "https://[v1.x]/",
    "https://[::1%25lo]/",
    "https://[fe80::1%lo]/",
    "https://[::1].example/",
    "https://a@b@127.0.0.1/",
    "https://a.example:80@127.0.0.1/",
    "https://a.example:80:443/",
    "https://a.example:+443/",
    "https://a.example:-1/",
    "https://a.example:4_43/",
    "https://a.example:４４３/",
    "https://a.example:0/",
    "https://a.example:65536/",
    "https://a.example\\@127.0.0.1/",
    "https:\\\\127.0.0.1/",
    "https:/\\127.0.0.1/",
    "https:127.0.0.1/",
    "https:/127.0.0.1/",
    "https:///127.0.0.1/",
    "https://\t127.0.0.1/",
    "https://127.0.0.1\n/",
    "https://127.0.0.1\x0b/",
    " https://127.0.0.1/",
    "ht\ntps://127.0.0.1/",
    "https://a..example/",
    "https://.example/",
    "https://-a.example/",
    "https://a,b.example/",
    "https://a<b.example/",
    "https://*.example/",
    "https://a;b.example/",
    "https://a\u200bb.example/",
    "https://a／b.example/",
    "https://a＃b.example/",
    "https://a＠127.0.0.1/",
    "https://a：80.example/",
    "https://℀.example/",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 200 + "example/",
    "http+unix://%2fvar%2frun%2fdocker.sock/containers",
    "unix:///var/run/docker.sock",
    "file:///etc/passwd",
    "ftp://a.example/",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/stats",
    "ldap://127.0.0.1/",
    "jar:https://a.example!/",
    "netdoc:///etc/passwd",
    "data:text/plain,x",
    "view-source:https://a.example/",
    "//a.example/",
    "a.example",
    "",
]


@pytest.mark.parametrize("url", URLS_OF_NO_PLAIN_HOST)
def test_ssrf_by_urls_that_parsers_read_differently(url: str) -> None:
    with pytest.raises(UnusableRequest) as caught:
        check_url(url, allow_http=True)
    assert "127" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://a.example", "a.example", 443),
        ("https://A.Example.:8443/x", "a.example.", 8443),
        ("https://a_b-c.example/?u=https://u:p@b/", "a_b-c.example", 443),
        ("https://a.example/#@127.0.0.1/", "a.example", 443),
        ("https://a.example?@127.0.0.1/", "a.example", 443),
        ("https://bücher.example/", "xn--bcher-kva.example", 443),
        ("https://8.8.8.8:444/", "8.8.8.8", 444),
        ("https://[2606:4700::1111]:444/", "2606:4700::1111", 444),
        ("https://１２７.0.0.1/", "127.0.0.1", 443),
        ("https://127。0。0。1/", "127.0.0.1", 443),
    ],
)
def test_ordinary_urls_and_what_is_connected_to(url: str, host: str, port: int) -> None:
    parsed = check_url(url, allow_http=False)
    assert (parsed.raw_host, parsed.port) == (host, port)


# ---- connecting


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """Run a coroutine on each kind of loop."""

    def play(scene: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await scene

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return play


@contextlib.asynccontextmanager
async def client(*, allow_private: bool = False, own_port: int | None = None) -> AsyncIterator[GuardedClient]:
    made = GuardedClient(allow_private=allow_private, own_port=own_port)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The address of every socket that was made for a request, as the system will connect it."""
    made: list[str] = []
    opener = socket_opener

    def watching(**named: Any) -> Callable[[Any], socket.socket]:
        inner = opener(**named)

        def open_one(address: Any) -> socket.socket:
            opened = inner(address)
            made.append(str(address[4][0]))
            return opened

        return open_one

    monkeypatch.setattr("bellwire.kit.http.socket_opener", watching)
    return made


def flipping(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """A resolver that says something else each time, the last for ever; returns what it was asked."""
    asked: list[str] = []
    lock = threading.Lock()

    def look_up(host: str, port: int, *_args: object, **_named: object) -> list[tuple[Any, ...]]:
        with lock:
            found = answers[min(len(asked), len(answers) - 1)]
            asked.append(host)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (one, port, 0, 0))
            if ":" in one
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def allowing(monkeypatch: pytest.MonkeyPatch, hosts: set[str]) -> None:
    """As if these addresses, which tests can have, were ordinary ones."""

    def judge(host: str) -> str | None:
        return None if host in hosts else refusal(host)

    monkeypatch.setattr("bellwire.kit.connections.refusal", judge)


def test_ssrf_by_rebinding_between_check_and_connect(
    run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch, connected: list[str]
) -> None:
    """The resolver says public, private, public, private: only the address of the very socket counts, each time."""
    public, private = ["192.0.2.1"], ["127.0.0.1"]
    allowing(monkeypatch, set(public))

    async def scene() -> None:
        async with rude_server() as server:
            flipping(monkeypatch, *[public, private] * 20)
            for _ in range(6):
                async with client() as guarded:
                    answer = await guarded.request("POST", f"https://hooks.example.com:{server.port}/", timeout_s=0.2)
                    assert answer.error in (TransportError.BLOCKED, TransportError.TIMEOUT, TransportError.CONNECT)
            assert server.connections == 0

    run(scene())
    assert connected
    assert set(connected) == set(public)


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1", "192.0.2.1"],
        ["192.0.2.1", "127.0.0.1"],
        ["::1", "192.0.2.1", "127.0.0.1"],
        ["2001:db8::1", "::1", "192.0.2.1", "::ffff:127.0.0.1"],
    ],
)
def test_ssrf_by_mixed_answers_and_happy_eyeballs(
    run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch, connected: list[str], found: list[str]
) -> None:
    """A race between addresses, some of them inward: those never get a socket, whoever is slow or dead."""
    outside = {"192.0.2.1", "2001:db8::1"}
    allowing(monkeypatch, outside)

    async def scene() -> None:
        async with rude_server() as server:
            flipping(monkeypatch, found)
            async with client() as guarded:
                await guarded.request("POST", f"https://hooks.example.com:{server.port}/", timeout_s=0.7)
            assert server.connections == 0

    run(scene())
    assert set(connected) <= outside


def test_ssrf_to_the_hubs_own_listening_address(run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A public address of the machine itself is no way around: what the hub's port answers is not for itself."""
    allowing(monkeypatch, {"127.0.0.1"})

    async def scene() -> None:
        async with rude_server() as server, rude_server() as neighbour:
            async with client(own_port=server.port) as guarded:
                answer = await guarded.request("GET", f"https://127.0.0.1:{server.port}/", timeout_s=5)
                assert (answer.error, server.connections) == (TransportError.BLOCKED, 0)
                assert "this hub" in answer.error_detail
                await guarded.request("GET", f"https://127.0.0.1:{neighbour.port}/", timeout_s=5)
                assert neighbour.connections == 1

    run(scene())
    assert is_this_machine(socket.AF_INET, "127.0.0.1")
    assert not is_this_machine(socket.AF_INET, "192.0.2.1")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http://127.0.0.1:{port}/to", "file:///etc/passwd", "//127.0.0.1:{port}/to", "/to"])
def test_ssrf_by_redirects_to_any_scheme(run: Callable[[Any], None], code: int, scheme: str) -> None:
    async def scene() -> None:
        async with rude_server() as server, client(allow_private=True) as guarded:
            target = scheme.format(port=server.port)
            server.replies["/from"] = raw(
                b"HTTP/1.1 %d x\r\nLocation: %b\r\nRefresh: 0; url=/to\r\nContent-Length: 0\r\n\r\n"
                % (code, target.encode())
            )
            answer = await guarded.request("POST", f"{server.base_url}/from", body=b"x")
            assert (answer.status, len(server.requests)) == (code, 1)

    run(scene())


def test_ssrf_by_proxies_and_netrc_of_the_environment(
    run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password planted\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    async def scene() -> None:
        async with rude_server() as proxy, rude_server() as server:
            for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy"):
                for spelled in (name, name.upper()):
                    monkeypatch.setenv(spelled, proxy.base_url)
            async with client(allow_private=True) as guarded:
                assert (await guarded.request("GET", f"{server.base_url}/")).status == 200
            assert proxy.connections == 0
            assert "authorization" not in server.requests[0].headers

    run(scene())


# ---- what is said

BREAKING = ["\r\nX-Evil: 1", "\nX-Evil: 1", "\rX-Evil: 1", "\x00", "\x0b", "\x0c", "\x1c", "\x7f", "\ud800"]


@pytest.mark.parametrize("text", BREAKING, ids=repr)
def test_header_injection_by_names_values_methods_and_urls(run: Callable[[Any], None], text: str) -> None:
    attempts: list[tuple[str, dict[str, str]]] = [
        ("POST", {"X-Good": f"a{text}"}),
        ("POST", {"X-Good": f"{text}a"}),
        ("POST", {f"X-Good{text}": "a"}),
        ("POST", {f"{text}X-Good": "a"}),
        (f"POST{text}", {}),
        (f"POST / HTTP/1.1{text}", {}),
    ]
    for method, headers in attempts:
        with pytest.raises(UnusableRequest):
            check_headers(method, headers)

    async def scene() -> None:
        async with rude_server() as server, client(allow_private=True) as guarded:
            for url in (f"{server.base_url}/{text}", f"{server.base_url}/?a={text}", f"{server.base_url}/#{text}"):
                assert (await guarded.request("POST", url)).error is TransportError.INVALID_URL
            assert server.requests == []
            for escaped in ("/%0d%0aX-Evil:%201", "/\u0085X-Evil", "/\u2028X-Evil", "/\u010d\u010aX-Evil: 1"[:-3]):
                await guarded.request("POST", f"{server.base_url}{escaped}")
            sent = b"".join(request.raw_head for request in server.requests)
            assert len(server.requests) == 4
            assert b"\nX-Evil" not in sent
            assert b"\rX-Evil" not in sent

    run(scene())


def test_header_injection_by_characters_that_lose_their_high_byte(run: Callable[[Any], None]) -> None:
    """U+010D and U+010A end in the bytes of CR and LF."""

    async def scene() -> None:
        async with rude_server() as server, client(allow_private=True) as guarded:
            value = "a\u010d\u010aX-Evil: 1\u560d\u560aX-Evil: 2"
            await guarded.request("POST", f"{server.base_url}/", headers={"X-Good": value})
            for request in server.requests:
                assert "x-evil" not in request.headers
                assert request.raw_head.count(b"\n") == request.raw_head.count(b"\r\n")

    run(scene())


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "Connection"])
def test_request_smuggling_by_headers_of_the_transport(run: Callable[[Any], None], name: str) -> None:
    """Whatever is asked for, a body is framed once and the receiver sees one request."""

    async def scene() -> None:
        async with rude_server() as server, client(allow_private=True) as guarded:
            body = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
            values = {"Host": "a.example", "Content-Length": "5", "Transfer-Encoding": "chunked", "Connection": "close"}
            await guarded.request("POST", f"{server.base_url}/", headers={name: values[name]}, body=body, timeout_s=1)
            assert not server.to("/smuggled")

    run(scene())


# ---- what is heard


async def _said(first: bytes, again: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(first)
    while True:
        writer.write(again)
        await writer.drain()


def endless(first: bytes, again: bytes) -> Reply:
    """Some bytes, and then others as fast as they are taken."""

    async def reply(_request: Received, writer: asyncio.StreamWriter) -> None:
        await _said(first, again, writer)

    return reply


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMBS = {
    "1xx flood": (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100),
    "100 flood with headers": (b"", (b"HTTP/1.1 100 Continue\r\n" + b"X: y\r\n" * 50 + b"\r\n") * 10),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" * 100),
    "empty lines": (b"", b"\r\n" * 30_000),
    "status line": (b"HTTP/1.1 200 ", b"y" * 65_536),
    "headers": (OK, b"X: y\r\n" * 1000),
    "one header": (OK + b"X: ", b"y" * 65_536),
    "folded header": (OK + b"X: y\r\n", b" y\r\n" * 1000),
    "chunk extension": (CHUNKED + b"1;", b"a" * 65_536),
    "chunk extensions": (CHUNKED, b"1;" + b"a" * 8000 + b"\r\nx\r\n"),
    "zeros of a chunk's size": (CHUNKED, b"0" * 65_536),
    "tiny chunks": (CHUNKED, b"1\r\nx\r\n" * 1000),
    "chunk of 2^68 bytes": (CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n", b"x" * 65_536),
    "trailers": (CHUNKED + b"0\r\n", b"X: y\r\n" * 1000),
    "one trailer": (CHUNKED + b"0\r\nX: ", b"y" * 65_536),
    "body": (OK + b"\r\n", b"x" * 65_536),
    "body of 2^63 bytes": (OK + b"Content-Length: 9223372036854775807\r\n\r\n", b"x" * 65_536),
    "upgrade": (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b"y" * 65_536),
}


@pytest.mark.parametrize("name", BOMBS)
def test_response_bombs_end_long_before_the_deadline(run: Callable[[Any], None], name: str) -> None:
    """They end because enough has come, not because the time is up: each kept a core busy until then."""

    async def scene() -> None:
        async with rude_server() as server, client(allow_private=True) as guarded:
            server.replies["/"] = endless(*BOMBS[name])
            answer = await guarded.request("POST", f"{server.base_url}/", body=b"x", timeout_s=3600)
            assert answer.error in (None, TransportError.PROTOCOL, TransportError.RESET)
            assert len(answer.body) <= 65_536
            assert sum(map(len, answer.headers.values())) <= 1_200_000
            assert (await guarded.request("GET", f"{server.base_url}/other")).status == 200

    run(scene())


def test_response_bombs_of_many_layers(run: Callable[[Any], None]) -> None:
    """A list of encodings is not unpacked again and again: aiohttp's own unpacking is off, ours knows one layer."""
    packed = b"\0" * 40_000_000
    for _ in range(3):
        packed = gzip.compress(packed, mtime=0)

    async def scene() -> None:
        async with rude_server() as server, client(allow_private=True) as guarded:
            for encoding in ("gzip, gzip, gzip", "gzip", "br", "zstd", "gzip;q=1", "x" * 4000):
                server.replies["/"] = status(200, packed, Content_Encoding=encoding)
                answer = await guarded.request("GET", f"{server.base_url}/")
                assert (answer.status, len(answer.body) <= 65_536) == (200, True)

    run(scene())


def test_deadlines_cover_dns(run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that is silent holds a thread, never the request."""
    gate = threading.Event()

    def hang(*_args: object, **_named: object) -> list[Any]:
        gate.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    async def scene() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", hang)
        async with client() as guarded:
            answer = await guarded.request("POST", "https://hooks.example.com/", timeout_s=0.2)
            assert answer.error is TransportError.TIMEOUT
            gate.set()

    run(scene())


def test_deadlines_cover_tls_and_bodies_that_are_not_read(run: Callable[[Any], None]) -> None:
    """A machine that takes connections and never says or reads anything."""

    async def scene(port: int) -> None:
        async with client(allow_private=True) as guarded:
            for url, body in ((f"https://127.0.0.1:{port}/", b"x"), (f"http://127.0.0.1:{port}/", b"x" * 1_000_000)):
                answer = await guarded.request("POST", url, body=body, timeout_s=0.3)
                assert answer.error is TransportError.TIMEOUT

    with socket.create_server(("127.0.0.1", 0)) as silent:
        run(scene(silent.getsockname()[1]))


def test_response_tampering_by_answers_nobody_asked_for(run: Callable[[Any], None]) -> None:
    """A second answer on a kept connection would count as that of the next event."""

    async def twice(_request: Received, writer: asyncio.StreamWriter) -> None:
        one = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        writer.write(one + one.replace(b"ok", b"NO"))

    async def late(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nNO")

    async def scene() -> None:
        for reply in (twice, late):
            async with rude_server() as server, client(allow_private=True) as guarded:
                server.replies["/"] = reply
                assert (await guarded.request("POST", f"{server.base_url}/", body=b"1")).body == b"ok"
                await asyncio.sleep(0.2)
                answer = await guarded.request("POST", f"{server.base_url}/next", body=b"2")
                assert (answer.status, answer.body) == (200, b"ok")
                assert len(server.to("/next")) == 1

    run(scene())


def test_response_tampering_by_two_lengths(run: Callable[[Any], None]) -> None:
    async def scene() -> None:
        async with rude_server() as server, client(allow_private=True) as guarded:
            for head in (
                b"Content-Length: 2\r\nContent-Length: 40",
                b"Content-Length: 2\r\nTransfer-Encoding: chunked",
                b"Transfer-Encoding: chunked, identity",
                b"Content-Length: +2",
                b"Content-Length: 2, 40",
            ):
                server.replies["/"] = raw(OK + head + b"\r\n\r\nok")
                before = server.connections
                await guarded.request("POST", f"{server.base_url}/", body=b"1", timeout_s=1)
                answer = await guarded.request("POST", f"{server.base_url}/next", body=b"2")
                assert (answer.status, answer.body) == (200, b"ok"), head
                assert server.connections >= before + 1, head

    run(scene())


def test_certificates_of_receivers_count(run: Callable[[Any], None], tmp_path: Path) -> None:
    """Neither an unknown issuer nor an old protocol is talked to; there is no switch for it."""

    async def scene() -> None:
        context = self_signed(tmp_path)
        async with rude_server(context) as server, client(allow_private=True) as guarded:
            assert (await guarded.request("GET", server.base_url)).error is TransportError.TLS
        old = self_signed(tmp_path)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with rude_server(old) as server, client(allow_private=True) as guarded:
            answer = await guarded.request("GET", server.base_url)
            assert answer.error in (TransportError.TLS, TransportError.RESET, TransportError.CONNECT)
            assert server.requests == []

    run(scene())
