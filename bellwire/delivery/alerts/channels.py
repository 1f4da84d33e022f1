"""The kinds of channel: what each needs to know, and how a message looks there. Pure."""

import hmac
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, Literal

import msgspec

from bellwire.db.alerts import AlertMessage, AlertState, MatterKind
from bellwire.destinations.base import Secret
from bellwire.kit.requests import check_url

_ONE_LINE = r"^[^\x00-\x1f\x7f]*$(?!\n)"
_ADDRESS = r"^[^\s@<>,;:\"\x00-\x1f\x7f]+@[^\s@<>,;:\"\x00-\x1f\x7f]+$(?!\n)"
_SUBJECT_CHARACTERS = 200


class EmailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mail over the team's own SMTP server."""

    to: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=_ADDRESS)], ...],
        msgspec.Meta(title="To", description="Address that is told.", min_length=1),
    ]
    sender: Annotated[str, msgspec.Meta(title="From", description="Sender address of the mail.", pattern=_ADDRESS)]
    smtp_host: Annotated[
        str, msgspec.Meta(title="SMTP server", description="Name of the SMTP server.", pattern=r"^[^\s/@]+$(?!\n)")
    ]
    smtp_port: Annotated[
        int,
        msgspec.Meta(
            title="Port", description="Its port. [default: 587, with --security tls 465, with none 25]", ge=0, le=65_535
        ),
    ] = 0
    security: Annotated[
        Literal["starttls", "tls", "none"],
        msgspec.Meta(
            title="Security", description="How the connection is encrypted; `none` is for a relay of your own."
        ),
    ] = "starttls"
    username: Annotated[str, msgspec.Meta(title="User", description="Login; empty = none.", pattern=_ONE_LINE)] = ""
    password: Annotated[Secret, msgspec.Meta(title="Password", description="Its password.", pattern=_ONE_LINE)] = ""

    def __repr__(self) -> str:
        return "EmailSettings(...)"

    def __post_init__(self) -> None:
        if bool(self.username) != bool(self.password):
            raise ValueError("a login needs both a user and a password")
        if self.username and self.security == "none":
            raise ValueError("a password is not sent over a connection without TLS: use starttls or tls")

    @property
    def port(self) -> int:
        return self.smtp_port or {"starttls": 587, "tls": 465, "none": 25}[self.security]


class SlackSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An incoming webhook of Slack, or of what takes the same: Mattermost, Discord (address with /slack), Teams relays."""

    url: Annotated[
        Secret,
        msgspec.Meta(
            title="Webhook URL",
            description="Address of the incoming webhook. Whoever knows it can post, so it is kept as a secret.",
            max_length=2048,
        ),
    ]

    def __repr__(self) -> str:
        return "SlackSettings(...)"

    def __post_init__(self) -> None:
        check_url(self.url, allow_http=True)


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """JSON to an address of your own, signed if you like."""

    url: Annotated[str, msgspec.Meta(title="URL", description="Where alerts are posted as JSON.", max_length=2048)]
    signing_secret: Annotated[Secret, msgspec.Meta(title="Signing secret", pattern=r"^(whsec_[!-~]{16,})?$(?!\n)")] = ""

    def __repr__(self) -> str:
        return "WebhookSettings(...)"

    def __post_init__(self) -> None:
        check_url(self.url, allow_http=True)


KINDS: dict[str, type[msgspec.Struct]] = {
    "email": EmailSettings,
    "slack": SlackSettings,
    "webhook": WebhookSettings,
}

_TROUBLE = {
    MatterKind.PAUSED.value: "is paused",
    MatterKind.BREAKER_OPEN.value: "does not take events",
    MatterKind.LATE.value: "is late",
    MatterKind.FAILURES.value: "fails unusually often",
    MatterKind.STORE_SILENT.value: "has gone silent",
}
_WELL = {
    MatterKind.PAUSED.value: "is no longer paused",
    MatterKind.BREAKER_OPEN.value: "takes events again",
    MatterKind.LATE.value: "is on time again",
    MatterKind.FAILURES.value: "fails no more than usual",
    MatterKind.STORE_SILENT.value: "was heard of again",
}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A message in words. `link` is the page that shows the matter."""

    title: str
    text: str
    link: str


def told(message: AlertMessage, *, project_name: str, public_url: str) -> Told:
    """How a message reads everywhere."""
    link = _link(message, public_url)
    where = f"(project {project_name})"
    match message.state:
        case AlertState.TEST:
            return Told(
                title=f"Bellwire: test alert {where}", text="This channel works: alerts will come here.", link=link
            )
        case AlertState.OVER:
            title = f"Bellwire: {message.name} {_WELL.get(message.kind, 'is well again')} {where}"
            return Told(title=title, text=f"It was: {message.message}.", link=link)
        case AlertState.RAISED:
            title = f"Bellwire: {message.name} {_TROUBLE.get(message.kind, 'needs a look')} {where}"
            return Told(title=title, text=f"{message.name}: {message.message}.", link=link)


def slack_body(words: Told) -> bytes:
    """Slack's `text`; its three control characters are escaped, so that a name cannot call a whole channel."""
    safe = f"*{_slack(words.title)}*\n{_slack(words.text)}\n<{words.link}>"
    return msgspec.json.encode({"text": safe})


def webhook_body(message: AlertMessage, words: Told, send_id: int) -> bytes:
    """One JSON object; `id` is the same when a message comes twice."""
    return msgspec.json.encode(
        {
            "type": "alert",
            "id": str(send_id),
            "state": message.state.value,
            "kind": message.kind or None,
            "project_id": message.project_id,
            "subject_id": message.subject or None,
            "subject_name": message.name or None,
            "title": words.title,
            "message": words.text,
            "link": words.link,
            "at_ms": message.at_ms,
        }
    )


def webhook_headers(settings: WebhookSettings, body: bytes, *, sent_at_s: int) -> dict[str, str]:
    """Signed like the events' webhook, so that one check serves both (spec: events 10.3)."""
    headers = {"Content-Type": "application/json"}
    if settings.signing_secret:
        digest = hmac.digest(settings.signing_secret.encode(), b"%d.%b" % (sent_at_s, body), "sha256")
        headers["X-RevenueCat-Webhook-Signature"] = f"t={sent_at_s},v1={digest.hex()}"
    return headers


def mail(settings: EmailSettings, words: Told, send_id: int, *, at_ms: int) -> EmailMessage:
    """A plain text mail; one that comes twice has the same Message-ID."""
    letter = EmailMessage()
    letter["From"] = settings.sender
    letter["To"] = ", ".join(settings.to)
    letter["Subject"] = _one_line(words.title)[:_SUBJECT_CHARACTERS]
    letter["Date"] = format_datetime(datetime.fromtimestamp(at_ms // 1000, UTC))
    letter["Message-ID"] = f"<alert-{send_id}@{settings.sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(f"{words.text}\n\n{words.link}\n")
    return letter


def _link(message: AlertMessage, public_url: str) -> str:
    base = f"{public_url}/projects/{message.project_id}"
    if not message.subject:
        return f"{base}/integrations"
    if message.kind == MatterKind.STORE_SILENT:
        return f"{base}/apps?app={message.subject}"
    return f"{base}/integrations/{message.subject}"


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    """No header may hold a line break, and a destination's answer or a name may."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
