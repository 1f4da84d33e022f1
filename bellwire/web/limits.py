"""How much one caller may ask: requests of an API key, refusals of an address. In memory, for each process by itself.

Public keys are in apps, where strangers find them: each client address has a bucket of its own for a key, so that none
can use up what others need. A store's messages are not limited: whoever knows an app's notification URL is told apart
from the store by the signature alone, and the store must not be kept waiting for what others send there. Where a trusted
proxy does not say for whom it speaks, addresses tell nothing and nothing is counted by them.
"""

from math import ceil

from bellwire.kit.buckets import Buckets, Proxies, household
from bellwire.kit.endpoints import Problem
from bellwire.settings import Settings

_TOO_MANY = "Too many requests; try again in {seconds} s."


class TooMany(Problem):
    """429 with `Retry-After`; a surface may say it in its own way."""

    def __init__(self, wait_s: float, *, status: int = 429) -> None:
        self.retry_after_s = max(1, ceil(wait_s))
        super().__init__(
            status,
            _TOO_MANY.format(seconds=self.retry_after_s),
            headers={"Retry-After": str(self.retry_after_s)},
        )


class InboundLimits:
    """One per process."""

    def __init__(self, settings: Settings) -> None:
        self._proxies = Proxies(settings.trusted_proxies)
        per_s = settings.requests_per_s_per_key
        self._requests = Buckets(per_s, 2 * per_s)
        self._refusals = Buckets(settings.refusals_per_minute / 60, settings.refusals_per_minute)

    def asked(self, key_id: str, client: str | None, *, is_secret: bool, status: int = 429) -> None:
        """Count a request of a valid key. Raises TooMany (with `status`)."""
        if is_secret:
            wait_s = self._requests.take(key_id)
        elif client is None or self._proxies.hide(client):
            return
        else:
            wait_s = self._requests.take(f"{key_id} {household(client)}")
        if wait_s:
            raise TooMany(wait_s, status=status)

    def refused(self, client: str | None) -> None:
        """Count a request of somebody without a valid key or URL. Raises TooMany, to be said in place of the refusal."""
        if client is None or self._proxies.hide(client):
            return
        wait_s = self._refusals.take(household(client))
        if wait_s:
            raise TooMany(wait_s)
