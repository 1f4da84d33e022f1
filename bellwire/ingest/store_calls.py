"""Store clients' way out, timed: how a store answers is the first question when notifications or receipts are late."""

from collections.abc import Mapping

from bellwire.observe import metrics
from bellwire.stores.base import Answer, HTTPCaller


class TimedCaller:
    """The guarded client, as one store's adapter gets it."""

    def __init__(self, client: HTTPCaller, store: str) -> None:
        self._client = client
        self._store = store

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},  # never changed
        body: bytes = b"",
        timeout_s: float = 60.0,
        max_response_bytes: int | None = None,
    ) -> Answer:
        """As the client's own."""
        answer = await self._client.request(
            method, url, headers=headers, body=body, timeout_s=timeout_s, max_response_bytes=max_response_bytes
        )
        result = answer.error.value if answer.error is not None else f"{(answer.status or 0) // 100}xx"
        metrics.STORE_SECONDS.observe(answer.duration_ms, self._store, result)
        return answer
