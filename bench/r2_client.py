"""R2: how fast the HTTP client alone posts signed 1.6 KB bodies to a C sink: a bare loop, keep-alive, 64 at once."""

import asyncio
import hashlib
import hmac
import time

import aiohttp
import uvloop

from bench.processes import nginx
from bench.sample import body

AT_ONCE = 64
SECRET = b"a webhook signing secret of 32 b"


def measure(seconds: float) -> float:
    """Requests a second."""
    with nginx() as url:
        return uvloop.run(_post_until(url, seconds))


async def _post_until(url: str, seconds: float) -> float:
    payloads = [body(number) for number in range(1000)]
    started = time.perf_counter()
    deadline = started + seconds
    sent = 0

    async def post(session: aiohttp.ClientSession) -> None:
        nonlocal sent
        while time.perf_counter() < deadline:
            payload = payloads[sent % len(payloads)]
            stamp = str(int(time.time()))
            mac = hmac.new(SECRET, f"{stamp}.".encode() + payload, hashlib.sha256).hexdigest()
            headers = {"Content-Type": "application/json", "X-Signature": f"t={stamp},v1={mac}"}
            async with session.post(url, data=payload, headers=headers) as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"the sink answered {answer.status}")
            sent += 1

    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(post(session) for _ in range(AT_ONCE)))
    return sent / (time.perf_counter() - started)


if __name__ == "__main__":
    print(f"r2_client {measure(5):.0f} requests/s")
