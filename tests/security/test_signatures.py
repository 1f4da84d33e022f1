"""Forged, cut, confused and repeated signatures at the doors of a whole hub: nothing of them counts."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.simulator.apple.certificates import Authority
from bellwire.simulator.google.identity import PUSH_EMAIL
from bellwire.simulator.notifier import Mode
from tests.support.world import World, live

Claims = dict[str, Any]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def header_of(token: str) -> Claims:
    return json.loads(unb64(token.split(".")[0]))


def claims_of(token: str) -> Claims:
    return json.loads(unb64(token.split(".")[1]))


def with_header(token: str, **changes: object) -> str:
    """Another header over the old signature."""
    _, payload, signature = token.split(".")
    return f"{b64(json.dumps(header_of(token) | changes).encode())}.{payload}.{signature}"


def mac(token: str, key: bytes) -> str:
    """The token as HS256, keyed with something that everybody knows."""
    signed = f"{b64(json.dumps(header_of(token) | {'alg': 'HS256'}).encode())}.{token.split('.')[1]}"
    return f"{signed}.{b64(hmac.digest(key, signed.encode(), 'sha256'))}"


# ---- Apple: the notification's token


def other_signature(token: str) -> str:
    """Signed well, by a key that is not in the chain."""
    return jwt.encode(claims_of(token), ec.generate_private_key(ec.SECP256R1()), "ES256", headers=header_of(token))


def foreign_chain(token: str) -> str:
    return Authority(seed=99).sign(claims_of(token))


def foreign_leaf_before_our_chain(token: str) -> str:
    foreign = Authority(seed=99).sign(claims_of(token))
    chain = [header_of(foreign)["x5c"][0], *header_of(token)["x5c"][1:]]
    return f"{with_header(foreign, x5c=chain)}"


def own_key_in_the_header(token: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    tricks = {
        "jwk": jwk,
        "jku": "https://evil.example/keys",
        "x5u": "https://evil.example/chain",
        "kid": "../../dev/null",
    }
    return jwt.encode(claims_of(token), key, "ES256", headers=header_of(token) | tricks)


def rs256_by_a_key_of_ones_own(token: str) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims_of(token), key, "RS256", headers=header_of(token) | {"alg": "RS256"})


APPLE_FORGERIES: dict[str, Callable[[str], str]] = {
    "one character short": lambda token: token[:-1],
    "empty signature": lambda token: token[: token.rindex(".") + 1],
    "no signature": lambda token: token[: token.rindex(".")],
    "zero signature": lambda token: token[: token.rindex(".") + 1] + b64(bytes(64)),
    "half a signature": lambda token: token[: token.rindex(".") + 1] + b64(unb64(token.rsplit(".", 1)[1])[:32]),
    "one part more": lambda token: token + ".",
    "two tokens": lambda token: token + "." + token,
    "alg none, unsigned": lambda token: with_header(token, alg="none").rsplit(".", 1)[0] + ".",
    "alg none": lambda token: with_header(token, alg="none"),
    "HS256 with the certificate": lambda token: mac(token, base64.b64decode(header_of(token)["x5c"][0])),
    "HS256 with nothing": lambda token: mac(token, b""),
    "no chain": lambda token: with_header(token, x5c=[]),
    "the root alone": lambda token: with_header(token, x5c=[header_of(token)["x5c"][2]] * 3),
    "another key": other_signature,
    "another root": foreign_chain,
    "another leaf under our chain": foreign_leaf_before_our_chain,
    "a key in the header": own_key_in_the_header,
    "RS256": rs256_by_a_key_of_ones_own,
}


def test_forged_apple_notifications(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        url = it.apple.notification_url
        it.kernel.notifier.set_mode(Mode.PAUSE)
        it.apple.purchase("pro_monthly")
        genuine = it.apple.mailer.memory[0].signed_payload
        for attack, forge in APPLE_FORGERIES.items():
            status, _ = await it.push(url, json.dumps({"signedPayload": forge(genuine)}).encode())
            assert status == 400, attack
        await it.hub.ingest.processor.settle()
        assert not it.events(dispatched=None)
        assert not it.chains()
        assert {row["status"] for row in it.inbox()} == {"rejected"}

    live(tmp_path, scene)


def test_only_the_first_signature_is_good(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        url = it.apple.notification_url
        it.kernel.notifier.set_mode(Mode.PAUSE)
        it.apple.purchase("pro_monthly")
        for part in ("signedTransactionInfo", "signedRenewalInfo"):
            for attack, forge in APPLE_FORGERIES.items():
                payload = claims_of(it.apple.mailer.memory[0].signed_payload)
                payload["data"][part] = forge(payload["data"][part])
                raw = json.dumps({"signedPayload": it.apple.authority.sign(payload)}).encode()
                assert (await it.push(url, raw))[0] == 400, (part, attack)
        await it.hub.ingest.processor.settle()
        assert not it.chains()

    live(tmp_path, scene)


def test_forged_apple_transactions_as_receipts(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.apple.notification_url = ""
        genuine = it.apple.signed_transaction(it.apple.purchase("pro_monthly"))
        for attack, forge in APPLE_FORGERIES.items():
            body = {"app_user_id": "thief", "fetch_token": forge(genuine)}
            status, _ = await it.call("POST", "/v1/receipts", body, it.apple_key, "iOS")
            assert status == 400, attack
        assert not it.chains()
        assert not await it.entitled("thief")

    live(tmp_path, scene)


def test_a_repeated_apple_notification_counts_once(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.apple.purchase("pro_monthly")
        await it.settle()
        first = it.told()
        signed = it.apple.mailer.memory[0].signed_payload
        for again in (json.dumps({"signedPayload": signed}), json.dumps({"x": 1, "signedPayload": signed}, indent=4)):
            assert await it.push(it.apple.notification_url, again.encode()) == (200, {"status": "duplicate"})
        await it.settle()
        assert it.told() == first
        assert len(first) == 1

    live(tmp_path, scene)


# ---- Pub/Sub: the push's token


def push_tokens(it: World) -> dict[str, str]:
    """Tokens that must not open the door, by the name of the attack."""
    identity, audience = it.google.identity, it.google.pusher.audience
    good = identity.push_token(audience)
    claims, head = claims_of(good), header_of(good)
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ours = identity._signing_key()
    pem = ours.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = ours.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    now = int(time.time())
    kid = {"kid": head["kid"]}
    return {
        "cut": good[:-2],
        "no signature": good[: good.rindex(".") + 1],
        "zero signature": good[: good.rindex(".") + 1] + b64(bytes(256)),
        "alg none": with_header(good, alg="none"),
        "alg none, unsigned": with_header(good, alg="none").rsplit(".", 1)[0] + ".",
        "alg None spelled otherwise": with_header(good, alg="nOnE"),
        "HS256 with the public key as PEM": mac(good, pem),
        "HS256 with the public key as DER": mac(good, der),
        "RS512 header": with_header(good, alg="RS512"),
        "PS256": jwt.encode(claims, ours, "PS256", headers=kid),
        "ES256": jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers=kid),
        "foreign key, our kid": jwt.encode(claims, foreign, "RS256", headers=kid),
        "foreign key, jku": jwt.encode(
            claims, foreign, "RS256", headers={"kid": "mine", "jku": "https://evil.example/certs"}
        ),
        "foreign key, jwk": jwt.encode(
            claims,
            foreign,
            "RS256",
            headers={**kid, "jwk": json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(foreign.public_key()))},
        ),
        "kid is a path": jwt.encode(claims, foreign, "RS256", headers={"kid": "../../../../dev/null"}),
        "kid is SQL": jwt.encode(claims, foreign, "RS256", headers={"kid": "' OR 1=1 --"}),
        "no kid": jwt.encode(claims, ours, "RS256"),
        "expired": identity.push_token(audience, iat=now - 7200, exp=now - 3600),
        "from tomorrow": identity.push_token(audience, iat=now + 86_400, exp=now + 90_000),
        "other audience": identity.push_token("https://other.example/"),
        "list of audiences": identity.push_token(audience, aud=[audience, "https://other.example/"]),
        "other account": identity.push_token(audience, email="mallory@evil.iam.gserviceaccount.com"),
        "other account, whose name begins alike": identity.push_token(audience, email=PUSH_EMAIL + ".evil.example"),
        "e-mail not verified": identity.push_token(audience, email_verified=False),
        "other issuer": identity.push_token(audience, iss="https://accounts.google.com.evil.example"),
    }


def test_forged_pubsub_tokens(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.PAUSE)
        it.google.purchase("pro:monthly")
        message = it.kernel.notifier.history[0].message
        for attack, token in push_tokens(it).items():
            status, _ = await it.push(message.url, message.body, {"Authorization": f"Bearer {token}"})
            assert status == 401, attack
        for authorization in ("", "Bearer", "Bearer ", "Basic Zm9v", it.google_key):
            status, _ = await it.push(message.url, message.body, {"Authorization": authorization})
            assert status == 401, authorization
        assert (await it.push(message.url, message.body))[0] == 401
        await it.hub.ingest.processor.settle()
        assert not it.chains()

    live(tmp_path, scene)


def test_a_repeated_push_counts_once(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.google.purchase("pro:monthly")
        await it.settle()
        first = it.told()
        message = it.kernel.notifier.history[0].message
        for _ in range(3):
            assert (await it.push(message.url, message.body, dict(message.headers_fn())))[0] == 200
        await it.settle()
        assert it.told() == first
        assert len(first) == 1

    live(tmp_path, scene)


# ---- what we sign


def test_our_signature_names_its_time_so_that_receivers_can_refuse_repeats(tmp_path: Path) -> None:
    got: list[tuple[dict[str, str], bytes]] = []
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()

    async def receive(request: Request) -> Response:
        got.append((dict(request.headers), await request.body()))
        return Response(status_code=200)

    async def scene(it: World) -> None:
        await it.webhook("signed", url=f"{it.stores_url}/signed", signing_secret=secret, standard_webhooks=True)
        it.apple.purchase("pro_monthly")
        await it.settle()

    live(tmp_path, scene, routes=[Route("/signed", receive, methods=["POST"])])
    headers, body = got[0]
    stamp, _, digest = headers["x-revenuecat-webhook-signature"].partition(",v1=")
    sent_at = int(stamp.removeprefix("t="))
    assert abs(sent_at - time.time()) < 300
    signed = hmac.new(secret.encode(), f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(digest, signed)
    late = hmac.new(secret.encode(), f"{sent_at + 1}.".encode() + body, hashlib.sha256).hexdigest()
    assert digest != late
    Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers | {"webhook-timestamp": str(sent_at - 86_400)})
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"pro_monthly", b"pro_yearly_"), headers)
