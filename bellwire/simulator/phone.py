"""What a customer's app says to the hub: the calls, headers and bodies that mobile SDKs send (spec: api 1.2, 1.8).

Calls of one phone go out one after the other; what fails with 5xx or without an answer is tried again, as SDKs do.
"""

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp

from bellwire.simulator.people import Person, Platform

RETRY_DELAYS_S = (0.5, 1.0, 2.0, 5.0, 10.0)
TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to the hub."""

    method: str
    path: str
    body: Mapping[str, object] | None
    headers: Mapping[str, str]


@dataclass(kw_only=True)
class Carrier:
    """What all phones share: the way to the hub, a limit on calls at once, and counts of the answers."""

    hub_url: str
    public_keys: Mapping[Platform, str]
    answers: Counter[int] = field(default_factory=Counter)
    """By status; 0 = no answer."""
    session: aiohttp.ClientSession | None = None
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(8))

    async def send(self, call: Call) -> int:
        """The status of the answer, 0 for none."""
        if self.session is None:
            self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        async with self.slots:
            status = 0
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                body = None if call.body is None else json.dumps(call.body)
                async with self.session.request(
                    call.method, self.hub_url + call.path, data=body, headers=call.headers
                ) as answer:
                    await answer.read()
                    status = answer.status
            self.answers[status] += 1
            return status

    async def close(self) -> None:
        if self.session is not None:
            await self.session.close()
            self.session = None


class Phone:
    """One person's app. Its methods return at once; the calls follow in order."""

    def __init__(self, person: Person, carrier: Carrier) -> None:
        self.person = person
        self.app_user_id = person.anonymous_id
        self._carrier = carrier
        self._waiting: deque[Call] = deque()
        self._talking: asyncio.Task[None] | None = None

    def open_app(self) -> None:
        """What an SDK asks at every start."""
        self._call("GET", f"/v1/subscribers/{quote(self.app_user_id, safe='')}")

    def tell_attributes(self, now_ms: int) -> None:
        path = f"/v1/subscribers/{quote(self.app_user_id, safe='')}/attributes"
        self._call("POST", path, {"attributes": self.person.attributes(now_ms)})

    def log_in(self) -> None:
        """From the anonymous id to the person's own."""
        new_id = self.person.user_id
        body = {"app_user_id": self.app_user_id, "new_app_user_id": new_id}
        self._call("POST", "/v1/subscribers/identify", body)
        self.app_user_id = new_id

    def post_receipt(self, receipt: Mapping[str, object], *, is_restore: bool = False) -> None:
        """Report a purchase; `receipt` holds what the store gave: token, product, price."""
        mine = self.person.observer
        self._call(
            "POST",
            "/v1/receipts",
            {
                **receipt,
                "app_user_id": self.app_user_id,
                "is_restore": is_restore,
                "observer_mode": mine,
                "purchase_completed_by": "my_app" if mine else "revenuecat",
                "initiation_source": "restore" if is_restore else "queue" if mine else "purchase",
                "sdk_originated": not mine,
                "payload_version": 1,
                "presented_offering_identifier": "default",
            },
        )

    async def quiet(self) -> None:
        """Wait until every call has its answer or was given up."""
        while self._talking is not None and not self._talking.done():
            await asyncio.wait([self._talking])

    def hang_up(self) -> None:
        """Drop what is still to be said."""
        self._waiting.clear()
        if self._talking is not None:
            self._talking.cancel()

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> None:
        self._waiting.append(Call(method=method, path=path, body=body, headers=self._headers()))
        if self._talking is None or self._talking.done():
            self._talking = asyncio.get_running_loop().create_task(self._talk())

    async def _talk(self) -> None:
        while self._waiting:
            call = self._waiting.popleft()
            for delay_s in (*RETRY_DELAYS_S, None):
                status = await self._carrier.send(call)
                if 0 < status < 500 or delay_s is None:
                    break
                await asyncio.sleep(delay_s)

    def _headers(self) -> dict[str, str]:
        person = self.person
        headers = {
            "Authorization": f"Bearer {self._carrier.public_keys[person.platform]}",
            "Content-Type": "application/json",
            "X-Platform-Flavor": "native",
            "X-Observer-Mode-Enabled": str(person.observer).lower(),
            "X-Client-Version": "3.2.1",
            "X-Is-Debug-Build": "false",
        }
        if person.platform is Platform.IOS:
            return headers | {
                "X-Platform": "iOS",
                "X-Platform-Version": "Version 26.1 (Build 23B74)",
                "X-Version": "5.86.0",
                "X-Client-Build-Version": "321",
                "X-Client-Bundle-ID": "com.example.shop",
                "X-Storefront": person.country_alpha3,
                "X-StoreKit2-Enabled": "true",
                "X-StoreKit-Version": "2",
                "X-Apple-Device-Identifier": person.device_id,
                "X-Is-Sandbox": "false",
            }
        return headers | {
            "X-Platform": "android",
            "X-Platform-Version": "36",
            "X-Platform-Device": "Pixel 11",
            "X-Platform-Brand": "google",
            "X-Version": "10.4.0",
            "X-Client-Bundle-ID": "com.example.shop",
            "X-Client-Locale": "en-US",
            "X-Storefront": person.country,
        }
