"""Webhook: the event as JSON to an address of the user's own (spec: events 1, 10).

Source for the optional headers: Standard Webhooks specification 1.0, "Webhook headers" and "Signature scheme".
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

import msgspec

from bellwire.destinations.base import Answer, AttemptContext, Destination, OutboundRequest, Outcome, Secret
from bellwire.destinations.outcomes import standard_outcome
from bellwire.kit.requests import check_url
from bellwire.model.events import Event

_ONE_LINE = r"^[^\x00-\x08\x0a-\x1f\x7f]*$(?!\n)"  # `$` alone lets a line break at the end pass
_STANDARD_KEY_BYTES = range(24, 65)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user enters for one webhook."""

    url: Annotated[
        str,
        msgspec.Meta(
            title="URL",
            description="Where events are posted. https; plain http only where the operator allows private addresses.",
            pattern=r"^https?://[^\s]+$",
            max_length=2048,
        ),
    ]
    authorization: Annotated[
        Secret,
        msgspec.Meta(
            title="Authorization header",
            description="Sent as it is in the `Authorization` header of every request; empty = no such header.",
            pattern=_ONE_LINE,
        ),
    ] = ""
    signing_secret: Annotated[
        Secret,
        msgspec.Meta(
            title="Signing secret",
            description="Begins with `whsec_`. Every request carries `X-RevenueCat-Webhook-Signature`; empty = unsigned.",
            pattern=r"^(whsec_[!-~]{16,})?$(?!\n)",
        ),
    ] = ""
    previous_signing_secret: Annotated[
        Secret,
        msgspec.Meta(
            title="Old signing secret",
            description="While the receiver learns a new one: see `bellwire integration rotate-secret`.",
            pattern=r"^(whsec_[!-~]{16,})?$(?!\n)",
        ),
    ] = ""
    standard_webhooks: Annotated[
        bool,
        msgspec.Meta(
            title="Standard Webhooks headers",
            description="Also send `webhook-id`, `webhook-timestamp` and `webhook-signature`, made with the same secret.",
        ),
    ] = False
    accept_any_2xx: Annotated[
        bool,
        msgspec.Meta(
            title="Accept any 2xx",
            description="Count every 2xx answer as delivered; otherwise only 200 counts and 201, 202, 204 are retried.",
        ),
    ] = False
    retry_schedule: Annotated[
        Literal["extended", "compatible"],
        msgspec.Meta(
            title="Retries",
            description="`extended`: 5 s, 30 s, 5 to 80 min, then hours up to three days. `compatible`: five retries "
            "after exactly 5, 10, 20, 40 and 80 minutes.",
        ),
    ] = "extended"

    def __repr__(self) -> str:
        return "Settings(...)"

    def __post_init__(self) -> None:
        check_url(self.url, allow_http=True)
        if self.standard_webhooks and len(_standard_key(self.signing_secret)) not in _STANDARD_KEY_BYTES:
            raise ValueError("Standard Webhooks headers need a signing secret: `whsec_` and 24 to 64 bytes in base64")


def build(event: Event, settings: msgspec.Struct, context: AttemptContext) -> OutboundRequest:
    """The same body on every attempt; only the signature, which names the attempt's time, differs."""
    chosen = cast(Settings, settings)
    body = b'{"api_version":"1.0","event":' + context.event_json + b"}"
    headers = {"Content-Type": "application/json"}
    if chosen.authorization:
        headers["Authorization"] = chosen.authorization
    if chosen.signing_secret:
        headers["X-RevenueCat-Webhook-Signature"] = _signature(
            chosen.previous_signing_secret or chosen.signing_secret, context.sent_at_s, body
        )
    if chosen.standard_webhooks:
        secrets = [secret for secret in (chosen.signing_secret, chosen.previous_signing_secret) if secret]
        headers |= _standard_headers(secrets, event.id, context.sent_at_s, body)
    return OutboundRequest(
        method="POST", url=chosen.url, headers=headers, body=body, secret_headers=("Authorization",), timeout_s=60.0
    )


def classify(answer: Answer, settings: msgspec.Struct) -> Outcome:
    """200 is success and nothing else, unless the user accepts any 2xx (spec: events 10.2).

    Another 2xx is named `misconfigured`, since it will come again and again until somebody changes the receiver or
    the setting. Whatever the name, a webhook is retried after every failure.
    """
    outcome = standard_outcome(answer)
    if outcome is Outcome.DELIVERED and answer.status != 200 and not cast(Settings, settings).accept_any_2xx:
        return Outcome.MISCONFIGURED
    return outcome


def _retry_schedule(settings: msgspec.Struct) -> str:
    return cast(Settings, settings).retry_schedule


def _signature(secret: str, sent_at_s: int, body: bytes) -> str:
    """Source: spec events 10.3: exactly one `v1`. The key is the whole secret, prefix included."""
    digest = hmac.digest(secret.encode(), b"%d.%b" % (sent_at_s, body), "sha256")
    return f"t={sent_at_s},v1={digest.hex()}"


def _standard_headers(secrets: Sequence[str], message_id: str, sent_at_s: int, body: bytes) -> dict[str, str]:
    """A signature for each secret: receivers look for one that they can make, too."""
    signed = b"%b.%d.%b" % (message_id.encode(), sent_at_s, body)
    digests = [hmac.digest(_standard_key(secret), signed, "sha256") for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at_s),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }


def _standard_key(secret: str) -> bytes:
    """The key of the Standard Webhooks scheme: what follows the prefix, as base64. Empty when it is none."""
    text = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


DESTINATION = Destination(
    slug="webhook",
    title="Webhook",
    description="Posts every event as JSON to an address of your own, signed if you like.",
    settings=Settings,
    build=build,
    classify=classify,
    retry_schedule=_retry_schedule,
    retry_every_failure=True,
    guide=Path(__file__).with_name("guide.md").read_text(encoding="utf-8"),
)
