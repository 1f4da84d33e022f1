"""Cross-origin answers for surfaces that browsers call without cookies: any origin may ask, keys are what protects."""

import re
from collections.abc import Sequence

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class CORS:
    """The headers of one surface. `headers` may always be sent, and whatever a preflight names besides."""

    def __init__(self, *, methods: Sequence[str], headers: Sequence[str], exposed: Sequence[str]) -> None:
        self._methods = ", ".join(methods)
        self._headers = tuple(headers)
        self._answer = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": ", ".join(exposed)}

    def answer(self) -> dict[str, str]:
        """Headers of every answer, errors included."""
        return self._answer

    def preflight(self, requested: str | None) -> dict[str, str]:
        """Headers of the answer to OPTIONS; `requested` is `Access-Control-Request-Headers`."""
        named = [name.strip() for name in (requested or "").split(",")]
        known = {name.lower() for name in self._headers}
        extra = [name for name in named if _TOKEN.fullmatch(name) and name.lower() not in known]
        return {
            "Access-Control-Allow-Methods": self._methods,
            "Access-Control-Allow-Headers": ", ".join([*self._headers, *dict.fromkeys(extra)]),
            "Access-Control-Max-Age": "86400",
        }
