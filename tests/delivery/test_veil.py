"""Secrets never reach the attempt log."""

import json

from bellwire.delivery.veil import Veil
from bellwire.destinations.base import OutboundRequest
from bellwire.destinations.settings import MASK
from bellwire.destinations.webhook.destination import Settings

VEIL = Veil(
    Settings(url="https://example.com/x", authorization='Bearer "top/secret"', signing_secret="whsec_" + "a" * 32)
)


def request(url: str = "https://example.com/x", **headers: str) -> OutboundRequest:
    return OutboundRequest(
        method="POST", url=url, headers=headers, body=b"", secret_headers=("authorization",), secret_params=("key", "t")
    )


def test_named_headers_are_masked_whole() -> None:
    shown = json.loads(VEIL.headers(request(Authorization="whatever", Other="fine")))
    assert shown == {"Authorization": MASK, "Other": "fine"}


def test_a_secret_in_any_other_header_is_masked_too() -> None:
    shown = json.loads(VEIL.headers(request(Copy='x Bearer "top/secret" y')))
    assert shown == {"Copy": f"x {MASK} y"}


def test_named_parameters_are_masked() -> None:
    assert VEIL.url(request("https://e.com/?a=1&key=abc&b=2")) == f"https://e.com/?a=1&key={MASK}&b=2"
    assert VEIL.url(request("https://e.com/?key=abc#f")) == f"https://e.com/?key={MASK}#f"
    assert VEIL.url(request("https://e.com/?monkey=abc")) == "https://e.com/?monkey=abc"
    assert VEIL.url(request("https://e.com/?key=a&t=b")) == f"https://e.com/?key={MASK}&t={MASK}"


def test_echoes_are_masked_however_they_are_spelled() -> None:
    assert "secret" not in VEIL.text('{"got":"Bearer \\"top/secret\\""}')
    assert "secret" not in VEIL.text("/?auth=Bearer%20%22top%2Fsecret%22")
    assert VEIL.bytes(b'you sent Bearer "top/secret"!') == f"you sent {MASK}!".encode()


def test_without_secrets_nothing_changes() -> None:
    plain = Veil(Settings(url="https://example.com"))
    assert plain.bytes(b"abc") == b"abc"
    assert plain.text("abc") == "abc"
