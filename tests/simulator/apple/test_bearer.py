"""Tokens that Apple would refuse are refused by the fake: real time, every claim."""

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bellwire.kit.clock import ManualClock
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.apple.bearer import refused
from bellwire.simulator.kernel import Kernel

STORE = FakeAppStore(Kernel(ManualClock(0)))
NOW = int(time.time())
CLAIMS: dict[str, Any] = {
    "iss": STORE.issuer_id,
    "iat": NOW,
    "exp": NOW + 300,
    "aud": "appstoreconnect-v1",
    "bid": STORE.bundle_id,
}


def token(*, key: Any = None, kid: str = STORE.key_id, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return jwt.encode(claims, key or STORE.api_key, "ES256", headers={"kid": kid})


def test_good_tokens() -> None:
    assert refused(STORE, f"Bearer {token()}") is None
    assert refused(STORE, f"Bearer {token(iat=None)}") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"bid": "com.other.app"},
        {"bid": None},
        {"exp": None},
        {"exp": NOW - 60},
        {"exp": NOW + 7200},
        {"kid": "OTHER"},
        {"key": ec.generate_private_key(ec.SECP256R1())},
    ],
)
def test_bad_tokens(changes: dict[str, Any]) -> None:
    assert refused(STORE, f"Bearer {token(**changes)}") is not None


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer x", f"Basic {token()}"])
def test_no_tokens(header: str | None) -> None:
    assert refused(STORE, header) is not None


def test_other_algorithms() -> None:
    unsigned = jwt.encode(CLAIMS, "", "none", headers={"kid": STORE.key_id})
    symmetric = jwt.encode(CLAIMS, "k" * 32, "HS256", headers={"kid": STORE.key_id})
    assert refused(STORE, f"Bearer {unsigned}") is not None
    assert refused(STORE, f"Bearer {symmetric}") is not None
