"""The watch: once a minute it looks for matters, writes down what is to be told, and tells it."""

import asyncio
import ssl
import time
from collections.abc import Callable

import msgspec
import sqlalchemy as sa
import structlog

from bellwire.db.alert_figures import HOUR_MS, WEEK_MS, load_app_figures, load_lane_figures
from bellwire.db.alerts import (
    AlertMessage,
    AlertState,
    Channel,
    DueSend,
    Matter,
    end_send,
    list_open_alerts,
    next_send_at_ms,
    settle,
    take_due_sends,
)
from bellwire.db.config import ConfigCache
from bellwire.db.lane_states import forget_old_counts
from bellwire.db.secrets import Sealer
from bellwire.db.writer import Writer
from bellwire.delivery.alerts.channels import (
    KINDS,
    EmailSettings,
    SlackSettings,
    WebhookSettings,
    mail,
    slack_body,
    told,
    webhook_body,
    webhook_headers,
)
from bellwire.delivery.alerts.mail import send_mail
from bellwire.delivery.alerts.matters import MIN_SILENCE_MS, Open, app_matters, lane_matters
from bellwire.delivery.send import HTTPCaller
from bellwire.kit.clock import Clock, SystemClock
from bellwire.kit.ids import new_row_id
from bellwire.settings import Settings

log = structlog.get_logger()

EVERY_S = 60.0
_JSON = {"Content-Type": "application/json"}
_HTTP_TIMEOUT_S = 20.0


class Alerts:
    """One per process that delivers. Several may watch one database: what is told is decided in it."""

    def __init__(
        self,
        engine: sa.Engine,
        writer: Writer,
        config: ConfigCache,
        sealer: Sealer,
        client: HTTPCaller,
        settings: Settings,
        *,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._config = config
        self._sealer = sealer
        self._client = client
        self._settings = settings
        self._now_ms: Callable[[], int] = (clock or SystemClock()).now_ms
        self._tls = tls
        self._forgot_at_ms = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self.check()
                await self.send_due()
            except Exception:
                log.exception("alerts.failed")
            await asyncio.sleep(EVERY_S)

    async def check(self) -> int:
        """Look once; returns how many messages are to be sent."""
        now_ms = self._now_ms()
        matters, going_on, names = await asyncio.to_thread(self._look, now_ms)

        if now_ms - self._forgot_at_ms > HOUR_MS:
            before_ms = now_ms - WEEK_MS - 2 * HOUR_MS
            await self._writer.change(lambda connection: forget_old_counts(connection, before_ms=before_ms))
            self._forgot_at_ms = now_ms
        if not matters and not going_on:
            return 0
        queued = await self._writer.change(lambda connection: settle(connection, matters, names, now_ms=now_ms))
        if queued:
            log.warning("alerts.raised", matters=len(matters), messages=queued)
        return queued

    async def send_due(self) -> int:
        """Send what is due; returns how many messages went."""
        if not await asyncio.to_thread(self._anything_due):
            return 0
        now_ms = self._now_ms()
        due = await self._writer.change(lambda connection: take_due_sends(connection, self._sealer, now_ms=now_ms))
        failures = await asyncio.gather(*(self.send(one.channel, one.message, one.id) for one in due))
        for one, failure in zip(due, failures, strict=True):
            await self._ended(one, failure)
        return failures.count(None)

    async def send_test(self, channel: Channel) -> str | None:
        """Tell one channel that it works. None when that went, else why not."""
        message = AlertMessage(
            state=AlertState.TEST,
            project_id=channel.project_id,
            kind="",
            subject="",
            name="",
            message="",
            at_ms=self._now_ms(),
        )
        return await self.send(channel, message, new_row_id())

    async def send(self, channel: Channel, message: AlertMessage, send_id: int) -> str | None:
        """One attempt. None when the message went, else why not; raises nothing but cancellation."""
        if channel.unreadable:
            return f"its secrets do not open: {channel.unreadable}"
        project = self._config.current().projects.get(message.project_id)
        words = told(
            message,
            project_name=message.project_id if project is None else project.name,
            public_url=self._settings.resolved_public_url(),
        )
        if channel.unreadable:
            return f"its secrets can not be opened: {channel.unreadable}"
        try:
            settings = msgspec.convert(channel.settings, KINDS[channel.kind])
        except (msgspec.ValidationError, KeyError):
            return "this version cannot use the channel's settings"
        match settings:
            case EmailSettings():
                letter = mail(settings, words, send_id, at_ms=message.at_ms)
                private = self._settings.allow_private_addresses
                return await send_mail(settings, letter, allow_private=private, tls=self._tls)
            case SlackSettings():
                return await self._post(settings.url, _JSON, slack_body(words))
            case WebhookSettings():
                body = webhook_body(message, words, send_id)
                return await self._post(
                    settings.url, webhook_headers(settings, body, sent_at_s=time.time_ns() // 10**9), body
                )
            case _:
                return f"this version knows no channel {channel.kind}"

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> str | None:
        answer = await self._client.request("POST", url, headers=headers, body=body, timeout_s=_HTTP_TIMEOUT_S)
        if answer.error is not None:
            return f"{answer.error.value}: {answer.error_detail}"
        status = answer.status or 0
        return None if 200 <= status < 300 else f"answered {status}"

    async def _ended(self, send: DueSend, failure: str | None) -> None:
        now_ms = self._now_ms()
        await self._writer.change(lambda connection: end_send(connection, send, failure=failure, now_ms=now_ms))
        fields = {"channel_id": send.channel.id, "channel": send.channel.kind, "kind": send.message.kind}
        if failure is None:
            log.info("alert.sent", state=send.message.state.value, subject=send.message.subject, **fields)
        else:
            log.warning("alert.failed", reason=failure, given_up=send.last, **fields)

    def _look(self, now_ms: int) -> tuple[list[Matter], set[Open], dict[str, str]]:
        """Matters of now, those that were going on before, and the names of everything that can have some."""
        with self._engine.connect() as connection:
            lanes = load_lane_figures(connection, now_ms=now_ms)
            silent = load_app_figures(connection, silent_since_ms=now_ms - MIN_SILENCE_MS)
            going_on = {Open(alert.kind, alert.subject) for alert in list_open_alerts(connection)}
        names = {lane.integration_id: lane.name for lane in lanes}
        names |= {app.id: app.name for app in self._config.current().apps.values()}
        return [*lane_matters(lanes, going_on, now_ms), *app_matters(silent, now_ms)], going_on, names

    def _anything_due(self) -> bool:
        with self._engine.connect() as connection:
            at_ms = next_send_at_ms(connection)
        return at_ms is not None and at_ms <= self._now_ms()
