"""Rows of the feed as templates show them: ids for the page, names instead of ids, addresses."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from bellwire.db.browse import load_integration_names
from bellwire.db.feed_rows import FeedRow, FeedStatus
from bellwire.model.projects import App

STATUS_WORDS = {
    FeedStatus.QUEUED: "Queued",
    FeedStatus.SENDING: "Sending",
    FeedStatus.SENT: "Delivered",
    FeedStatus.RETRYING: "Retrying",
    FeedStatus.FAILED: "Failed",
    FeedStatus.SKIPPED: "Skipped",
}
STORE_WORDS = {
    "APP_STORE": "App Store",
    "MAC_APP_STORE": "Mac App Store",
    "PLAY_STORE": "Play Store",
    "STRIPE": "Stripe",
    "AMAZON": "Amazon",
    "PADDLE": "Paddle",
    "ROKU": "Roku",
    "RC_BILLING": "Web Billing",
    "PROMOTIONAL": "Granted",
    "TEST_STORE": "Test Store",
}
_GAINED = {"INITIAL_PURCHASE", "RENEWAL", "NON_RENEWING_PURCHASE", "UNCANCELLATION", "REFUND_REVERSED"}
_AT_RISK = {"CANCELLATION", "BILLING_ISSUE", "SUBSCRIPTION_PAUSED", "PRICE_INCREASE_CONSENT_REQUIRED"}
_LOST = {"EXPIRATION"}


class FeedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One row to show. `key` is unique on the page and fit for ids."""

    row: FeedRow
    key: str
    integration: str
    app: str
    url: str
    """Address of the delivery; `/retry` below it tries again."""
    tone: str
    """What kind of news the event is: gained, risk, lost or plain."""
    shown: bool = True
    """False: passes the filters no longer, so it is updated where it shows but not added."""

    @property
    def status(self) -> FeedStatus:
        return self.row.status

    @property
    def status_word(self) -> str:
        return STATUS_WORDS[self.row.status]


class Namer:
    """Names of one project's integrations and apps, read once for many rows."""

    def __init__(self, connection: sa.Connection, project_id: str, apps: Iterable[App]) -> None:
        self._project_id = project_id
        self._integrations = load_integration_names(connection, project_id)
        self._apps = {app.id: app.name for app in apps}

    def line(self, row: FeedRow, *, shown: bool = True) -> FeedLine:
        return FeedLine(
            row=row,
            key=f"{row.integration_id}-{row.event_id}",
            integration=self._integrations.get(row.integration_id, row.integration_id),
            app=self._apps.get(row.app_id or "", STORE_WORDS.get(row.store or "", "")),
            url=f"/projects/{self._project_id}/integrations/{row.integration_id}/deliveries/{row.event_id}",
            tone=tone(row.event_type),
            shown=shown,
        )

    def lines(self, rows: Iterable[FeedRow]) -> list[FeedLine]:
        return [self.line(row) for row in rows]


def tone(event_type: str) -> str:
    """What kind of news an event is."""
    if event_type in _GAINED:
        return "gained"
    if event_type in _AT_RISK:
        return "risk"
    return "lost" if event_type in _LOST else "plain"
