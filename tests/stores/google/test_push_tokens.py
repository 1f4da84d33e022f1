"""Forged, foreign and broken pushes (spec: stores 1.3, 3.2, 13.3 h)."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bellwire.kit.http import GuardedClient
from bellwire.simulator.google.identity import PUSH_EMAIL
from bellwire.stores.base import Rejected, StoreUnavailable
from bellwire.stores.google.oidc import REMEMBERED_S, PushTokens, SigningKeys, check_push_token
from tests.support.play import PlayBench, on_bench, serve

FOREIGN = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _b64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def _push_of(bench: PlayBench) -> bytes:
    bench.play.send_test_notification()
    await bench.kernel.flush()
    return bench.pushes[-1][1]


async def _refused(bench: PlayBench, authorization: str | None, **config: object) -> Rejected:
    raw = await _push_of(bench)
    headers = {} if authorization is None else {"authorization": authorization}
    with pytest.raises(Rejected) as refused:
        await bench.adapter.verify(bench.app(**config), headers, raw, now_ms=0)
    return refused.value


def test_a_genuine_push_is_accepted_and_keys_are_loaded_once() -> None:
    async def tell(bench: PlayBench) -> None:
        raw = await _push_of(bench)
        for _ in range(3):
            await bench.adapter.verify(bench.app(), bench.pushes[-1][0], raw, now_ms=0)
        assert [url for _, url, _, _ in bench.recorder.calls].count(f"{bench.play.base_url}/oauth2/v3/certs") == 1

    on_bench(tell)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://other.example/push"}, "Audience"),
        ({"aud": ["bellwire-com.example.app"]}, "not valid"),
        ({"email": "somebody@else.iam.gserviceaccount.com"}, "another service account"),
        ({"email_verified": False}, "not verified"),
        ({"email_verified": "true"}, "not valid"),
        ({"email_verified": None}, "not valid"),
        ({"iss": "https://accounts.google.com.evil.example"}, "issuer"),
        ({"exp": int(time.time()) - 120, "iat": int(time.time()) - 3720}, "expired"),
        ({"iat": int(time.time()) + 3600, "exp": int(time.time()) + 7200}, "not yet valid"),
    ],
)
def test_a_token_that_says_something_else_is_refused(claims: dict[str, object], reason: str) -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.identity.push_token(bench.play.pusher.audience, **claims)
        refused = await _refused(bench, f"Bearer {token}")
        assert refused.status == 401
        assert reason in refused.reason

    on_bench(tell)


def test_small_clock_differences_are_forgiven() -> None:
    async def tell(bench: PlayBench) -> None:
        raw = await _push_of(bench)
        now = int(time.time())
        for claims in ({"iat": now + 40}, {"iat": now - 3640, "exp": now - 40}, {"iss": "accounts.google.com"}):
            token = bench.play.identity.push_token(bench.play.pusher.audience, **claims)
            await bench.adapter.verify(bench.app(), {"authorization": f"Bearer {token}"}, raw, now_ms=0)

    on_bench(tell)


def test_a_token_with_another_signature_is_refused() -> None:
    async def tell(bench: PlayBench) -> None:
        identity, audience = bench.play.identity, bench.play.pusher.audience
        genuine = identity.push_token(audience)
        header, payload, signature = genuine.split(".")
        claims = jwt.decode(genuine, options={"verify_signature": False})
        kid = jwt.get_unverified_header(genuine)["kid"]
        public = str(identity.jwks()["keys"])
        forged = [
            f"{_b64({'alg': 'none', 'kid': kid})}.{payload}.",
            f"{_b64({'alg': 'none', 'kid': kid})}.{payload}.{signature}",
            jwt.encode(claims, public, algorithm="HS256", headers={"kid": kid}),
            jwt.encode(claims, FOREIGN, algorithm="RS256", headers={"kid": kid}),
            jwt.encode(claims, FOREIGN, algorithm="RS256", headers={"kid": "unknown"}),
            jwt.encode(claims, FOREIGN, algorithm="RS256"),
            jwt.encode(claims, FOREIGN, algorithm="PS256", headers={"kid": kid}),
            f"{header}.{_b64(claims | {'exp': claims['exp'] + 1})}.{signature}",
            f"{header}.{payload}",
            "x",
        ]
        for token in forged:
            assert (await _refused(bench, f"Bearer {token}")).status == 401

    on_bench(tell)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz"])
def test_a_push_without_a_token_is_refused(authorization: str | None) -> None:
    async def tell(bench: PlayBench) -> None:
        assert (await _refused(bench, authorization)).status == 401

    on_bench(tell)


def test_an_app_without_audience_refuses_every_token() -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.identity.push_token("")
        assert (await _refused(bench, f"Bearer {token}", push_audience="")).status == 401

    on_bench(tell)


def test_unauthenticated_pushes_need_the_setting() -> None:
    async def tell(bench: PlayBench) -> None:
        raw = await _push_of(bench)
        open_app = bench.app(allow_unauthenticated_push=True)
        await bench.adapter.verify(open_app, {}, raw, now_ms=0)
        with pytest.raises(Rejected):
            await bench.adapter.verify(open_app, {"authorization": "Bearer x"}, raw, now_ms=0)

    on_bench(tell)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"message": {}}',
        b'{"message": {"data": "***", "messageId": "1"}}',
        b'{"message": {"data": "e30=", "messageId": "1"}}',
        b'{"message": {"data": "bm8=", "messageId": "1"}}',
        b'{"message": {"data": 5, "messageId": "1"}}',
        b'{"message": {"data": "\xff", "messageId": "1"}}',
        b'{"message": {"data": "eyJwYWNrYWdlTmFtZSI6ImNvbS5leGFtcGxlLmFwcCJ9"}}',
    ],
)
def test_a_body_that_is_no_push_is_refused(raw: bytes) -> None:
    async def tell(bench: PlayBench) -> None:
        token = bench.play.identity.push_token(bench.play.pusher.audience)
        with pytest.raises(Rejected) as refused:
            await bench.adapter.verify(bench.app(), {"authorization": f"Bearer {token}"}, raw, now_ms=0)
        assert refused.value.status == 400

    on_bench(tell)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_keys_that_cannot_be_loaded_mean_come_again(status: int) -> None:
    async def tell(bench: PlayBench) -> None:
        raw = await _push_of(bench)
        bench.kernel.faults.add("/oauth2/v3/certs", status)
        with pytest.raises(StoreUnavailable):
            await bench.adapter.verify(bench.app(), bench.pushes[-1][0], raw, now_ms=0)
        await bench.adapter.verify(bench.app(), bench.pushes[-1][0], raw, now_ms=0)

    on_bench(tell)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_new_key_is_fetched_once_and_strangers_cannot_make_us_ask() -> None:
    async def tell(bench: PlayBench) -> None:
        identity, clock = bench.play.identity, Clock()
        keys = SigningKeys(bench.recorder, monotonic=clock)
        certs = f"{bench.play.base_url}/oauth2/v3/certs"

        async def check(token: str) -> None:
            await check_push_token(keys, certs, f"Bearer {token}", audience="a", email=PUSH_EMAIL)

        await check(identity.push_token("a"))
        identity.rotate_push_key()
        with pytest.raises(Rejected):  # within the floor nobody asks again
            await check(identity.push_token("a"))
        assert len(bench.recorder.calls) == 1
        clock.now_s += 61
        await check(identity.push_token("a"))
        assert len(bench.recorder.calls) == 2
        stranger = jwt.encode({"iss": "x"}, FOREIGN, algorithm="RS256", headers={"kid": "stranger"})
        for _ in range(20):
            with pytest.raises(Rejected):
                await check(stranger)
        assert len(bench.recorder.calls) == 2
        clock.now_s += 3600  # what Cache-Control allows is over
        await check(identity.push_token("a"))
        assert len(bench.recorder.calls) == 3

    on_bench(tell)


def test_a_token_that_passed_is_remembered_for_a_while_and_for_nobody_else() -> None:
    async def tell(bench: PlayBench) -> None:
        identity, clock, wall = bench.play.identity, Clock(), Clock()
        wall.now_s = time.time()
        tokens = PushTokens(SigningKeys(bench.recorder, monotonic=clock), now_s=wall)
        certs = f"{bench.play.base_url}/oauth2/v3/certs"
        genuine = f"Bearer {identity.push_token('a')}"

        async def check(authorization: str = genuine, *, audience: str = "a", email: str = PUSH_EMAIL) -> None:
            await tokens.check(certs, authorization, audience=audience, email=email)

        await check()
        identity.rotate_push_key()
        clock.now_s += 61
        await check()  # remembered: nobody asks for the key
        assert len(bench.recorder.calls) == 1
        for other in (
            check(genuine[:-1]),
            check(genuine + "x"),
            check(audience="b"),
            check(email="somebody@else.example"),
        ):
            with pytest.raises(Rejected):
                await other
        looked = tokens.checks
        await check()
        assert tokens.checks == looked
        wall.now_s += REMEMBERED_S
        await check()
        assert tokens.checks == looked + 1

    on_bench(tell)


def test_a_remembered_token_ends_when_it_says_so() -> None:
    async def tell(bench: PlayBench) -> None:
        wall = Clock()
        wall.now_s = time.time()
        claims = jwt.decode(bench.play.identity.push_token("a"), options={"verify_signature": False})
        certificate = _certificate(FOREIGN)

        async def certs(_request: Request) -> Response:
            return JSONResponse({"pem": certificate})

        client = GuardedClient(allow_private=True)
        tokens = PushTokens(SigningKeys(client), now_s=wall)
        ends = int(wall.now_s) + 5
        token = jwt.encode(claims | {"exp": ends}, FOREIGN, algorithm="RS256", headers={"kid": "pem"})
        async with serve(Starlette(routes=[Route("/certs", certs)])) as url:
            for moment, remembered in ((0, 1), (4, 1), (6, 2)):
                wall.now_s = ends - 5 + moment
                await tokens.check(f"{url}/certs", f"Bearer {token}", audience="a", email=PUSH_EMAIL)
                assert tokens.checks == remembered
        await client.close()

    on_bench(tell)


def test_keys_as_pem_certificates_are_understood() -> None:
    async def tell(bench: PlayBench) -> None:
        claims = jwt.decode(bench.play.identity.push_token("a"), options={"verify_signature": False})
        genuine = jwt.encode(claims, FOREIGN, algorithm="RS256", headers={"kid": "pem"})
        certificate = _certificate(FOREIGN)

        async def certs(_request: Request) -> Response:
            return JSONResponse({"pem": certificate}, headers={"Cache-Control": "max-age=60"})

        client = GuardedClient(allow_private=True)
        async with serve(Starlette(routes=[Route("/certs", certs)])) as url:
            await check_push_token(
                SigningKeys(client), f"{url}/certs", f"Bearer {genuine}", audience="a", email=PUSH_EMAIL
            )
        await client.close()

    on_bench(tell)


def test_nonsense_instead_of_keys_means_come_again() -> None:
    async def tell(bench: PlayBench) -> None:
        answers: list[Any] = [
            [],
            "x",
            {"keys": [{"kty": "RSA"}]},
            {"keys": [{"kty": "RSA", "kid": "k"}]},
            {"keys": 5},
            {},
            {"kid": "no certificate"},
        ]

        async def certs(_request: Request) -> Response:
            return JSONResponse(answers[0])

        async with serve(Starlette(routes=[Route("/certs", certs)])) as url:
            while answers:
                with pytest.raises(StoreUnavailable):
                    await SigningKeys(bench.client).get(f"{url}/certs", "kid")
                answers.pop(0)

    on_bench(tell)


def _certificate(private: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "push")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
