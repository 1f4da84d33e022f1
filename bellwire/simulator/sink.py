"""A webhook receiver that checks what it gets, and on request behaves as badly as real ones do."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bellwire.simulator.mischief import Mischief, answer

TOLERANCE_S = 300
REMEMBERED_IDS = 200_000


@dataclass(kw_only=True)
class Receiver:
    """One endpoint, `/sink/<name>`. Without `secret` and `authorization` it believes everybody.

    `flakiness` is the share of genuine requests that it answers with an error, sometimes slowly.
    """

    name: str
    secret: str = ""
    standard: bool = False
    """Check the Standard Webhooks headers instead of the RevenueCat one."""
    authorization: str = ""
    flakiness: float = 0.0
    requests: int = 0
    genuine: int = 0
    forged: int = 0
    refused: int = 0
    duplicates: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    on_event: Callable[[bytes], None] | None = None
    """Called with the body of each event that is no duplicate."""
    _seen: OrderedDict[str, None] = field(default_factory=OrderedDict)

    @property
    def received(self) -> int:
        """Different events taken."""
        return sum(self.by_type.values())

    def counts(self) -> dict[str, object]:
        return {
            "requests": self.requests,
            "genuine": self.genuine,
            "forged": self.forged,
            "refused": self.refused,
            "received": self.received,
            "duplicates": self.duplicates,
            "by_type": dict(self.by_type),
        }

    def believes(self, headers: Mapping[str, str], body: bytes, now_s: float) -> bool:
        """Whether the request is the hub's. `headers` looks up without regard to case."""
        if self.authorization and not hmac.compare_digest(
            headers.get("authorization", "").encode(), self.authorization.encode()
        ):
            return False
        if not self.secret:
            return True
        if self.standard:
            return _standard(headers, body, self.secret, now_s)
        return _revenuecat(headers.get("x-revenuecat-webhook-signature", ""), body, self.secret, now_s)

    def take(self, body: bytes) -> None:
        """Count an event; a second time it is a duplicate."""
        event = json.loads(body)["event"]
        if event["id"] in self._seen:
            self.duplicates += 1
            return
        self._seen[event["id"]] = None
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)
        self.by_type[event["type"]] += 1
        if self.on_event is not None:
            self.on_event(body)


class Sink:
    """All receivers of a world."""

    def __init__(self, rng: random.Random, *receivers: Receiver) -> None:
        self.receivers = {receiver.name: receiver for receiver in receivers}
        self.mischief = Mischief(frozenset(self.receivers))
        self._random = rng

    def routes(self) -> list[Route]:
        """POST /sink/<name> takes events; GET /sink tells the counts; /_control/sink is for trouble."""
        return [
            *self.mischief.routes(),
            Route("/sink/{name}", self._post, methods=["POST"]),
            Route("/sink", self._counts, methods=["GET"]),
        ]

    async def _post(self, request: Request) -> Response:
        receiver = self.receivers.get(request.path_params["name"])
        if receiver is None:
            return JSONResponse({"error": "no such receiver"}, status_code=404)
        body = await request.body()
        receiver.requests += 1
        if not receiver.believes(request.headers, body, time.time()):
            receiver.forged += 1
            return JSONResponse({"error": "signature or authorization does not fit"}, status_code=401)
        receiver.genuine += 1
        order = self.mischief.due(receiver.name, body)
        if order is not None:
            receiver.refused += 1
            return await answer(order)
        if self._random.random() < receiver.flakiness:
            return await self._refuse(receiver)
        receiver.take(body)
        return JSONResponse({"ok": True})

    async def _refuse(self, receiver: Receiver) -> Response:
        receiver.refused += 1
        status, words = self._random.choice(
            ((500, "something went wrong"), (503, "deploying, back in a minute"), (502, "bad gateway"))
        )
        if self._random.random() < 0.3:
            await asyncio.sleep(self._random.uniform(0.5, 2))
        return JSONResponse({"error": words}, status_code=status)

    async def _counts(self, _request: Request) -> Response:
        return JSONResponse({name: receiver.counts() for name, receiver in self.receivers.items()})


def _revenuecat(header: str, body: bytes, secret: str, now_s: float) -> bool:
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    sent_at = parts.get("t", "")
    if not sent_at.isdigit() or abs(now_s - int(sent_at)) > TOLERANCE_S:
        return False
    expected = hmac.new(secret.encode(), f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(parts.get("v1", "").encode(), expected.encode())


def _standard(headers: Mapping[str, str], body: bytes, secret: str, now_s: float) -> bool:
    """Source: Standard Webhooks specification, "Verifying webhook authenticity"."""
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(now_s - int(sent_at)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers.get('webhook-id', '')}.{sent_at}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return any(
        hmac.compare_digest(given.encode(), expected.encode())
        for given in headers.get("webhook-signature", "").split(" ")
    )
