"""Fake stores for the benchmarks: they write the notifications of N customers to files, then serve their APIs.

`python -m bench.stores PORT FOLDER N M`, M = purchases in Google Play. Files: apple_purchases, apple_renewals, play_purchases (one request body a line),
apple_receipts (one body a line), play_authorization, credentials.json. The port is listened on when all are written.
"""

import json
import sys
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from bellwire.kit.clock import ManualClock
from bellwire.simulator.apple import FakeAppStore
from bellwire.simulator.google import FakePlay
from bellwire.simulator.kernel import Kernel
from bellwire.simulator.notifier import Outgoing

AUDIENCE = "bench"
PLAY_PREFIX = "/google"
MONTH_AND_A_DAY_MS = 32 * 86_400_000


def main() -> None:
    """See the module."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    customers, play_purchases = int(sys.argv[3]), int(sys.argv[4])
    clock = ManualClock(time.time_ns() // 1_000_000 - MONTH_AND_A_DAY_MS)
    kernel = Kernel(clock)
    apple = FakeAppStore(kernel, bundle_id="com.example.bench")
    play = FakePlay(kernel, package_name="com.example.bench", prefix=PLAY_PREFIX)
    apple.base_url, play.base_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}{PLAY_PREFIX}"
    apple.notification_url = play.notification_url = "http://unused.invalid/"
    play.pusher.audience = AUDIENCE

    keys = [apple.purchase("pro_monthly") for _ in range(customers)]
    write_bodies(folder / "apple_purchases", kernel)
    clock.advance_ms(MONTH_AND_A_DAY_MS)
    kernel.catch_up()
    write_bodies(folder / "apple_renewals", kernel)
    receipts = (receipt(number, apple.signed_transaction(key)) for number, key in enumerate(keys))
    (folder / "apple_receipts").write_text("\n".join(receipts))
    for _ in range(play_purchases):
        play.purchase("pro:monthly")
    last = write_bodies(folder / "play_purchases", kernel)
    (folder / "play_authorization").write_text(last.headers_fn()["Authorization"])
    credentials = {"apple": apple.credentials(), "google": play.credentials()}
    (folder / "credentials.json").write_text(json.dumps(credentials))

    app = Starlette(routes=[*apple.routes(), *play.routes()])
    uvicorn.run(app, port=port, log_level="error", access_log=False)


def write_bodies(file: Path, kernel: Kernel) -> Outgoing:
    """What the stores have said since the last call, one body a line; returns the last message."""
    history = kernel.notifier.history
    file.write_bytes(b"\n".join(sent.message.body for sent in history))
    last = history[-1].message
    history.clear()
    return last


def receipt(number: int, token: str) -> str:
    """What an SDK posts after a purchase in StoreKit 2."""
    body = {
        "fetch_token": token,
        "app_user_id": f"bench-{number}",
        "product_id": "pro_monthly",
        "price": "9.99",
        "currency": "USD",
        "is_restore": False,
        "observer_mode": False,
        "payload_version": 1,
    }
    return json.dumps(body)


if __name__ == "__main__":
    main()
