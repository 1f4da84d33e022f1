"""Cloud Pub/Sub pushing developer notifications: at least once, with backoff, for a week (spec: stores 3.2)."""

import base64
import json

from bellwire.simulator.google.calendar import rfc3339
from bellwire.simulator.google.identity import Identity
from bellwire.simulator.kernel import Kernel, Outgoing

ACKNOWLEDGING = frozenset({102, 200, 201, 202, 204})
MIN_BACKOFF_S, MAX_BACKOFF_S = 10.0, 600.0
RETENTION_S = 7 * 86_400.0


def backoff_schedule() -> tuple[float, ...]:
    """Waits between attempts: doubling from the least to the most, until the message is a week old."""
    waits: list[float] = []
    wait, age = MIN_BACKOFF_S, 0.0
    while age + wait <= RETENTION_S:
        waits.append(wait)
        age += wait
        wait = min(wait * 2, MAX_BACKOFF_S)
    return tuple(waits)


RETRY_DELAYS_S = backoff_schedule()


class Pusher:
    """The push subscription of one app."""

    def __init__(self, kernel: Kernel, identity: Identity, package_name: str) -> None:
        self._kernel = kernel
        self._identity = identity
        self._package_name = package_name
        self._message_count = 0
        self.endpoint = ""
        """Where the hub listens; nothing is pushed before it is set."""
        self.audience = f"bellwire-{package_name}"
        """Of the tokens. Pub/Sub takes the endpoint if none is set, but then it must be known before the app is made."""

    def push(self, member: dict[str, object]) -> None:
        """Publish one DeveloperNotification."""
        now = self._kernel.now_ms
        notification = {"version": "1.0", "packageName": self._package_name, "eventTimeMillis": str(now), **member}
        self._message_count += 1
        message_id = f"{self._kernel.random.randrange(10**9, 10**10)}{self._message_count:06d}"
        self._kernel.record("google.notification", message_id=message_id, notification=notification)
        if not self.endpoint:
            return
        self._kernel.notifier.send(
            Outgoing(
                store="google",
                url=self.endpoint,
                body=self.envelope(notification, message_id, now),
                headers_fn=self._headers,
                accept_statuses=ACKNOWLEDGING,
                retry_delays_s=RETRY_DELAYS_S,
                label=message_id,
            )
        )

    @staticmethod
    def envelope(notification: dict[str, object], message_id: str, published_ms: int) -> bytes:
        """The body of a push: Pub/Sub writes id and time twice, in both spellings."""
        published = rfc3339(published_ms)
        attributes: dict[str, str] = {}
        message = {
            "data": base64.b64encode(json.dumps(notification).encode()).decode(),
            "messageId": message_id,
            "message_id": message_id,
            "publishTime": published,
            "publish_time": published,
            "attributes": attributes,
        }
        return json.dumps({"message": message, "subscription": "projects/bellwire-demo/subscriptions/play"}).encode()

    def _headers(self) -> dict[str, str]:
        token = self._identity.push_token(self.audience)
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
