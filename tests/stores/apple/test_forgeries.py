"""Forged, foreign and broken notifications: nothing of them is accepted (spec: stores 13.3 h, 2.2, 1.3)."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import msgspec
import pytest
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier, VerificationException, VerificationStatus
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from bellwire.kit.http import Answer
from bellwire.model.projects import App
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.apple.certificates import Authority, Marks
from bellwire.stores.apple import AppleAdapter
from bellwire.stores.apple.settings import Config
from bellwire.stores.apple.verify import Verifiers, refusal
from bellwire.stores.base import Rejected, StoreUnavailable
from tests.stores.apple.connected import BUNDLE_ID, START_MS, make_app, make_store, payload_of

Payload = dict[str, Any]


class NoNetwork:
    """Verification asks nobody."""

    async def request(self, *_args: object, **_kwargs: object) -> Answer:
        raise AssertionError("a request was made")


STORE = make_store()
STORE.purchase("pro_monthly")
GENUINE = STORE.mailer.memory[0].signed_payload
APP = make_app(STORE)
CONFIG = Config(bundle_id=BUNDLE_ID, app_apple_id=STORE.app_apple_id)
ROOTS = (base64.b64decode(STORE.authority.root_base64),)
ADAPTER = AppleAdapter(NoNetwork(), allow_test_roots=True)


def body(signed: str) -> bytes:
    return msgspec.json.encode({"signedPayload": signed})


def check(raw: bytes, *, app: App = APP, adapter: AppleAdapter = ADAPTER) -> None:
    asyncio.run(adapter.verify(app, {}, raw, now_ms=START_MS))


def refused(raw: bytes, *, app: App = APP, adapter: AppleAdapter = ADAPTER) -> str:
    """The reason of the refusal, which is the sender's fault: 400."""
    with pytest.raises(Rejected) as caught:
        check(raw, app=app, adapter=adapter)
    assert caught.value.status == 400
    return caught.value.reason


def changed(change: Callable[[Payload], object], authority: Authority = STORE.authority) -> bytes:
    """The genuine notification with another content, signed again."""
    payload = payload_of(GENUINE)
    change(payload)
    return body(authority.sign(payload))


def nested(part: str, change: Callable[[Payload], None], authority: Authority = STORE.authority) -> bytes:
    """The genuine notification with another transaction or renewal info inside, all signed."""

    def replace(payload: Payload) -> None:
        inner = payload_of(payload["data"][part])
        change(inner)
        payload["data"][part] = authority.sign(inner)

    return changed(replace)


def resigned(header: Payload, *, payload: Payload | None = None, key: Any = None, alg: str = "ES256") -> bytes:
    """The genuine payload under another header."""
    content = payload_of(GENUINE) if payload is None else payload
    return body(jwt.encode(content, key or STORE.authority.leaf_key, alg, headers=header))


def test_genuine_passes() -> None:
    check(body(GENUINE))


@pytest.mark.parametrize("marks", [Marks.NO_LEAF, Marks.NO_INTERMEDIATE])
def test_chain_without_apples_marks(marks: Marks) -> None:
    authority = Authority(seed=1, marks=marks)
    assert "not signed by Apple" in refused(changed(lambda _: None, authority))


def test_chain_of_another_root() -> None:
    assert "not signed by Apple" in refused(changed(lambda _: None, Authority(seed=2)))


def test_another_chain_with_our_root_put_beside_it() -> None:
    stranger = Authority(seed=2)
    x5c = [*stranger.x5c[:2], STORE.authority.x5c[2]]
    assert "not signed by Apple" in refused(resigned({"x5c": x5c}, key=stranger.leaf_key))


def test_our_chain_with_another_key() -> None:
    check(body(GENUINE))  # the chain is remembered now
    assert "not signed by Apple" in refused(resigned({"x5c": STORE.authority.x5c}, key=Authority(seed=2).leaf_key))


def test_real_root_refuses_the_fakes_chain() -> None:
    strict = AppleAdapter(NoNetwork(), allow_test_roots=False)
    assert "not signed by Apple" in refused(body(GENUINE), adapter=strict)


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_chain_of_another_length(count: int) -> None:
    x5c = [*STORE.authority.x5c, STORE.authority.x5c[0]][:count]
    refused(resigned({"x5c": x5c}))


def test_chain_in_another_order() -> None:
    refused(resigned({"x5c": STORE.authority.x5c[::-1]}))


@pytest.mark.parametrize("x5c", [None, "", [1, 2, 3], ["!", "!", "!"], ["AAAA", "AAAA", "AAAA"]])
def test_chain_that_is_none(x5c: object) -> None:
    refused(resigned({"x5c": x5c}))


@pytest.mark.parametrize("extra", [{"crit": ["exp"]}, {"b64": False}, {"crit": None}, {"b64": True}])
def test_headers_that_change_how_a_token_is_read(extra: Payload) -> None:
    refused(forged({"alg": "ES256", "x5c": STORE.authority.x5c, **extra}))


@pytest.mark.parametrize("alg", ["es256", "ES384", "RS256", "", None])
def test_other_algorithm_names_over_a_good_signature(alg: object) -> None:
    refused(forged({"alg": alg, "x5c": STORE.authority.x5c}))


def test_hand_made_token_passes_when_nothing_is_forged() -> None:
    check(forged({"alg": "ES256", "x5c": STORE.authority.x5c}))


def forged(header: Payload) -> bytes:
    """The genuine payload under a header made by hand, with a signature that is good for both."""
    parts = [json.dumps(header).encode(), json.dumps(payload_of(GENUINE)).encode()]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    r, s = decode_dss_signature(STORE.authority.leaf_key.sign(signed, ECDSA(SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=")
    return body(f"{signed.decode()}.{signature.decode()}")


def test_algorithm_none() -> None:
    refused(body(jwt.encode(payload_of(GENUINE), "", "none", headers={"x5c": STORE.authority.x5c})))


def test_algorithm_hs256_keyed_with_the_public_key() -> None:
    point = STORE.authority.leaf_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    refused(resigned({"x5c": STORE.authority.x5c}, alg="HS256", key=point))


@pytest.mark.parametrize("environment", ["Xcode", "LocalTesting", "production", "", None, 7])
def test_environments_that_nobody_signs_for(environment: object) -> None:
    def change(payload: Payload) -> None:
        payload["data"]["environment"] = environment

    refused(changed(change))
    unsigned = jwt.encode(payload_of(changed_payload(change)), "", "none")
    refused(body(unsigned))


def changed_payload(change: Callable[[Payload], None]) -> str:
    return str(json.loads(changed(change))["signedPayload"])


@pytest.mark.parametrize("part", ["signedTransactionInfo", "signedRenewalInfo"])
@pytest.mark.parametrize("environment", ["Xcode", "LocalTesting", "Sandbox"])
def test_inner_part_of_another_environment(part: str, environment: str) -> None:
    assert "another environment" in refused(nested(part, lambda inner: inner.update(environment=environment)))


def test_inner_transaction_of_another_bundle() -> None:
    reason = refused(nested("signedTransactionInfo", lambda inner: inner.update(bundleId="com.other.app")))
    assert reason == "the transaction belongs to another app"


@pytest.mark.parametrize("part", ["signedTransactionInfo", "signedRenewalInfo"])
def test_inner_part_of_another_root(part: str) -> None:
    assert "not signed by Apple" in refused(nested(part, lambda _: None, Authority(seed=2)))


@pytest.mark.parametrize("part", ["signedTransactionInfo", "signedRenewalInfo"])
@pytest.mark.parametrize("text", ["", "x", "a.b.c", "e30.e30."])
def test_inner_part_that_is_no_jws(part: str, text: str) -> None:
    refused(changed(lambda payload: payload["data"].update({part: text})))


def test_date_at_which_the_chain_is_not_valid() -> None:
    check(body(GENUINE))  # the chain is remembered now
    for signed_ms in (0, 1_300_000_000_000, 2_600_000_000_000):
        refused(changed(lambda payload, at=signed_ms: payload.update(signedDate=at)))


@pytest.mark.parametrize("change", [{"bundleId": "com.other.app"}, {"appAppleId": 99}, {"bundleId": BUNDLE_ID.upper()}])
def test_another_app_that_is_correctly_signed_is_answered_and_ignored(change: Payload) -> None:
    raw = changed(lambda payload: payload["data"].update(change))
    check(raw)
    found = ADAPTER.decode(APP, raw)
    assert found.ignored is not None
    assert "another app" in found.ignored
    assert not found.snapshots
    assert not found.store_keys


def test_another_app_that_is_not_correctly_signed() -> None:
    refused(changed(lambda payload: payload["data"].update(bundleId="com.other.app"), Authority(seed=2)))


def test_production_cannot_be_checked_without_the_apple_id() -> None:
    with pytest.raises(StoreUnavailable, match="Apple ID"):
        check(body(GENUINE), app=make_app(STORE, app_apple_id=None))


def test_settings_that_cannot_be_used_are_not_the_senders_fault() -> None:
    with pytest.raises(StoreUnavailable, match="settings"):
        check(body(GENUINE), app=make_app(STORE, bundle_id=7))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\x00\xff",
        b'{"signedPayload":null}',
        b'{"signedPayload":7}',
        b'{"signedPayload":""}',
        b'{"signedPayload":"a.b"}',
        b'{"signedPayload":"a.\\u0000.c"}',
        b'{"signedPayload":"a.\\ud800.c"}',
        b'{"signedPayload":"a.W10.c"}',
        b'{"signedPayload":"a.bnVsbA.c"}',
        b"[" * 10_000,
    ],
)
def test_body_that_is_no_notification(raw: bytes) -> None:
    refused(raw)


def test_version_1_notifications_are_told_what_to_do() -> None:
    assert "Version 2" in refused(b'{"notification_type":"DID_RENEW","password":"x"}')


def test_notification_without_an_id() -> None:
    raw = changed(lambda payload: payload.pop("notificationUUID"))
    with pytest.raises(Rejected):
        ADAPTER.decode(APP, raw)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_changed_character_passes(data: st.DataObject) -> None:
    signed_part = GENUINE.rindex(".")
    at = data.draw(st.integers(0, signed_part - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.").filter(lambda letter: letter != GENUINE[at]))
    refused(body(GENUINE[:at] + other + GENUINE[at + 1 :]))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_nothing_passes_that_apples_own_verifier_refuses(data: st.DataObject) -> None:
    """Our check of the signature is not Apple's: where the two differ, ours must be the stricter one."""
    token = list(GENUINE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.one_of(st.integers(len(token) - 90, len(token) - 1), st.integers(0, len(token) - 1)))
        token[at] = data.draw(st.sampled_from(["", "=", ".", "A", "g", "-", "_", "+", "/", " ", "AA", token[at]]))
    changed_token = "".join(token)
    ours = Verifiers().of(CONFIG, "Production", ROOTS)
    apples = SignedDataVerifier(list(ROOTS), False, Environment.PRODUCTION, BUNDLE_ID, STORE.app_apple_id)
    try:
        ours.check_notification(changed_token)
    except VerificationException:
        return
    assert apples.verify_and_decode_notification(changed_token) == ours.verify_and_decode_notification(changed_token)


def _replace_data(name: str, **part: object) -> Callable[[Payload], None]:
    def change(payload: Payload) -> None:
        data = payload.pop("data")
        kept = {key: data[key] for key in ("bundleId", "appAppleId", "environment")}
        payload[name] = {key: value for key, value in {**kept, **part}.items() if value is not None}

    return change


_SAYINGS: list[Callable[[Payload], object]] = [
    lambda payload: payload["data"].update(bundleId="com.example.other"),
    lambda payload: payload["data"].update(appAppleId=1),
    lambda payload: payload["data"].pop("appAppleId"),
    lambda payload: payload["data"].update(environment="Sandbox"),
    lambda payload: payload["data"].update(environment="Xcode"),
    lambda payload: payload["data"].update(environment="LocalTesting"),
    lambda payload: payload["data"].update(environment="Somewhere"),
    lambda payload: payload["data"].pop("environment"),
    lambda payload: payload.update(data=None),
    lambda payload: payload.pop("data"),
    lambda payload: payload.update(summary={"bundleId": "com.example.other", "environment": "Sandbox"}),
    _replace_data("summary"),
    _replace_data("summary", bundleId=None),
    _replace_data("summary", environment="Sandbox"),
    _replace_data("externalPurchaseToken"),
    _replace_data("externalPurchaseToken", externalPurchaseId="SANDBOX_1"),
    _replace_data("externalPurchaseToken", externalPurchaseId="1", appAppleId=2),
    _replace_data("appData"),
    _replace_data("appData", bundleId="com.example.other"),
]


@pytest.mark.parametrize("number", range(len(_SAYINGS)))
@pytest.mark.parametrize("environment", [Environment.PRODUCTION, Environment.SANDBOX])
def test_what_a_payload_must_say_is_what_apples_own_verifier_wants(number: int, environment: Environment) -> None:
    token: str = msgspec.json.decode(changed(_SAYINGS[number]))["signedPayload"]
    ours = Verifiers().of(CONFIG, environment.value, ROOTS)
    apples = SignedDataVerifier(list(ROOTS), False, environment, BUNDLE_ID, STORE.app_apple_id)
    assert _status(ours.check_notification, token) == _status(apples.verify_and_decode_notification, token)


@pytest.mark.parametrize("environment", [Environment.PRODUCTION, Environment.SANDBOX])
@pytest.mark.parametrize("bundle_id", [BUNDLE_ID, "com.example.other"])
def test_transactions_and_renewals_are_judged_as_by_apples_own_verifier(
    environment: Environment, bundle_id: str
) -> None:
    data = payload_of(GENUINE)["data"]
    ours = Verifiers().of(msgspec.structs.replace(CONFIG, bundle_id=bundle_id), environment.value, ROOTS)
    apples = SignedDataVerifier(list(ROOTS), False, environment, bundle_id, STORE.app_apple_id)
    transaction, renewal = data["signedTransactionInfo"], data["signedRenewalInfo"]
    theirs = _status(apples.verify_and_decode_signed_transaction, transaction)
    assert _status(ours.check_transaction, transaction) == theirs
    assert _status(ours.check_renewal_info, renewal) == _status(apples.verify_and_decode_renewal_info, renewal)


def _status(check: Callable[[str], object], token: str) -> VerificationStatus | None:
    try:
        check(token)
    except VerificationException as error:
        return error.status
    return None


def test_genuine_notification_that_the_library_cannot_read_is_taken() -> None:
    def change(payload: Payload) -> None:
        identity = {name: payload["data"][name] for name in ("bundleId", "appAppleId", "environment")}
        del payload["data"]
        payload["summary"] = {**identity, "storefrontCountryCodes": 5}

    raw = changed(change)
    check(raw)
    assert ADAPTER.decode(APP, raw).ignored is not None


def test_certificate_status_that_cannot_be_asked_is_no_refusal() -> None:
    error = VerificationException(VerificationStatus.RETRYABLE_VERIFICATION_FAILURE)
    assert isinstance(refusal(error, "notification"), StoreUnavailable)


def test_another_store_with_the_same_root_cannot_speak_for_this_app() -> None:
    """Two apps of one developer: what is true of one is nothing to the other."""
    other: FakeAppStore = make_store(bundle_id="com.example.other")
    other.purchase("pro_monthly")
    raw = body(other.mailer.memory[0].signed_payload)
    check(raw)
    assert ADAPTER.decode(APP, raw).ignored is not None
