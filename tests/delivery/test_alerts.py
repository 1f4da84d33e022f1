"""The watch from figures to real receivers, on a virtual clock."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from bellwire.db.alerts import Channel, create_channel, list_channels, list_open_alerts
from bellwire.db.lane_states import pause_lane, resume_lane
from bellwire.db.notices import list_notices
from bellwire.delivery.alerts.channels import EmailSettings, SlackSettings, WebhookSettings
from bellwire.delivery.alerts.service import Alerts
from bellwire.kit.clock import ManualClock
from bellwire.kit.http import GuardedClient
from bellwire.model.projects import Integration
from bellwire.settings import Settings
from tests.support.deliveries import Hub, now_ms, open_hub, play
from tests.support.mail_server import mail_server
from tests.support.rude_server import RudeServer, rude_server, status

DAY_MS = 86_400_000
SECRET = "whsec_0123456789abcdef"
SETTINGS = Settings(public_url="https://hub.example", allow_private_addresses=True)


class Scene:
    """A hub with one integration, and a watch on a clock of its own."""

    def __init__(self, hub: Hub, server: RudeServer) -> None:
        self.hub = hub
        self.server = server
        self.clock = ManualClock(now_ms())
        self.lane: Integration = hub.webhook(f"{server.base_url}/in")
        self.alerts = self.watch()

    def watch(self) -> Alerts:
        """As a process that starts makes one."""
        hub = self.hub
        return Alerts(hub.engine, hub.writer, hub.config, hub.sealer, hub.client, SETTINGS, clock=self.clock)

    def add(self, kind: str, settings: msgspec.Struct) -> Channel:
        hub = self.hub
        project_id = hub.project_id
        hub.writer.submit_change(
            lambda c: create_channel(c, hub.sealer, project_id=project_id, kind=kind, settings=settings, now_ms=0)
        ).result()
        with hub.engine.connect() as connection:
            return list_channels(connection, hub.sealer, project_id)[-1]

    def pause(self) -> None:
        lane = self.lane
        self.hub.writer.submit_change(
            lambda c: pause_lane(c, lane.project_id, lane.id, reason="by hand", now_ms=self.clock.now_ms())
        ).result()

    def resume(self) -> None:
        lane = self.lane
        self.hub.writer.submit_change(lambda c: resume_lane(c, lane.project_id, lane.id)).result()

    async def look(self) -> None:
        await self.alerts.check()
        await self.alerts.send_due()

    def posted(self, path: str) -> list[dict[str, object]]:
        return [msgspec.json.decode(one.body, type=dict[str, object]) for one in self.server.to(path)]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Scene]:
    async with rude_server() as server, open_hub(folder) as hub:
        yield Scene(hub, server)


def test_a_paused_integration_is_told_everywhere_with_a_link_and_told_again_when_it_goes_on(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as one, mail_server() as mails:
            one.add("slack", SlackSettings(url=f"{one.server.base_url}/slack"))
            one.add("webhook", WebhookSettings(url=f"{one.server.base_url}/alert", signing_secret=SECRET))
            one.add(
                "email",
                EmailSettings(
                    to=("team@example.com",),
                    sender="hub@example.org",
                    smtp_host="127.0.0.1",
                    smtp_port=mails.port,
                    security="none",
                ),
            )
            one.pause()
            await one.look()
            link = f"https://hub.example/projects/{one.lane.project_id}/integrations/{one.lane.id}"
            (slack,) = one.posted("/slack")
            assert list(slack) == ["text"]
            assert slack["text"] == (
                f"*Bellwire: {one.lane.name} is paused (project Test)*\n"
                f"{one.lane.name}: paused: by hand; 0 events waiting.\n<{link}>"
            )
            (hook,) = one.posted("/alert")
            assert (hook["type"], hook["state"], hook["kind"]) == ("alert", "raised", "paused")
            assert (hook["subject_id"], hook["link"]) == (one.lane.id, link)
            assert [letter["To"] for letter in mails.letters] == ["team@example.com"]

            one.clock.advance_ms(DAY_MS - 1)
            await one.look()
            assert len(one.posted("/slack")) == 1
            one.clock.advance_ms(1)
            await one.look()
            assert (len(one.posted("/slack")), len(mails.letters)) == (2, 2)

            one.resume()
            await one.look()
            assert [hook["state"] for hook in one.posted("/alert")] == ["raised", "raised", "over"]
            assert "is no longer paused" in str(one.posted("/slack")[-1]["text"])
            await one.look()
            assert (len(one.posted("/slack")), len(mails.letters)) == (3, 3)

    play(scene)


def test_a_webhook_alert_is_signed_like_an_event(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as one:
            one.add("webhook", WebhookSettings(url=f"{one.server.base_url}/alert", signing_secret=SECRET))
            one.pause()
            await one.look()
            (request,) = one.server.to("/alert")
            stamp, signature = request.headers["x-revenuecat-webhook-signature"].split(",")
            signed = stamp.removeprefix("t=").encode() + b"." + request.body
            assert signature == "v1=" + hmac.digest(SECRET.encode(), signed, "sha256").hex()

    play(scene)


def test_a_message_that_failed_goes_again_after_a_restart(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as one:
            one.add("webhook", WebhookSettings(url=f"{one.server.base_url}/alert"))
            one.server.replies["/alert"] = status(500)
            one.pause()
            await one.look()
            one.server.replies["/alert"] = status(204)
            one.alerts = one.watch()
            await one.look()
            assert len(one.posted("/alert")) == 1  # not before its time
            one.clock.advance_ms(60_000)
            await one.look()
            first, second = one.posted("/alert")
            assert first == second
            one.clock.advance_ms(DAY_MS // 2)
            await one.look()
            assert len(one.posted("/alert")) == 2

    play(scene)


def test_a_crash_while_a_message_is_on_its_way_repeats_it_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as one:
            one.add("webhook", WebhookSettings(url=f"{one.server.base_url}/alert"))
            one.pause()
            await one.alerts.check()
            sending = asyncio.create_task(one.alerts.send_due())
            await one.server.until("/alert", 1)
            sending.cancel()  # the receiver has it, the hub never wrote so
            await asyncio.gather(sending, return_exceptions=True)
            one.alerts = one.watch()
            for _ in range(5):
                one.clock.advance_ms(3_600_000)
                await one.look()
            assert 1 <= len(one.posted("/alert")) <= 2
            assert len({str(hook["id"]) for hook in one.posted("/alert")}) == 1

    play(scene)


def test_a_channel_that_does_not_answer_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as one:
            one.add("webhook", WebhookSettings(url="http://127.0.0.1:1/"))
            one.add("webhook", WebhookSettings(url=f"{one.server.base_url}/alert"))
            one.pause()
            await one.look()
            assert len(one.posted("/alert")) == 1
            for _ in range(8):
                one.clock.advance_ms(7 * 3_600_000)
                await one.alerts.send_due()
            with one.hub.engine.connect() as connection:
                (notice,) = list_notices(connection, one.hub.project_id)
            assert notice.kind == "alert_not_sent"

    play(scene)


def test_private_addresses_are_refused_unless_allowed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as one:
            hub, client = one.hub, GuardedClient()
            strict = Alerts(hub.engine, hub.writer, hub.config, hub.sealer, client, Settings(), clock=one.clock)
            port = one.server.port
            slack = one.add("slack", SlackSettings(url=f"https://127.0.0.1:{port}/slack"))
            hook = one.add("webhook", WebhookSettings(url=f"https://localhost:{port}/alert"))
            for channel in (slack, hook):
                failure = await strict.send_test(channel)
                assert failure is not None
                assert failure.startswith("blocked: ")
            assert one.server.connections == 0
            await client.close()

    play(scene)


def test_names_cannot_speak_for_slack(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as one:
            channel = one.add("slack", SlackSettings(url=f"{one.server.base_url}/slack"))
            one.lane = one.hub.webhook(f"{one.server.base_url}/in?<!channel>&x")
            one.pause()
            await one.look()
            (slack,) = one.posted("/slack")
            assert "<!channel>" not in str(slack["text"])
            assert "&lt;!channel&gt;&amp;x" in str(slack["text"])
            assert await one.alerts.send_test(channel) is None

    play(scene)


def test_what_goes_on_can_be_listed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as one:
            one.pause()
            await one.look()
            with one.hub.engine.connect() as connection:
                (alert,) = list_open_alerts(connection, one.hub.project_id)
                assert (alert.subject, alert.told_at_ms) == (one.lane.id, None)
                assert list_open_alerts(connection, "proj0") == []

    play(scene)
