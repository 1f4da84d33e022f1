"""One cheap request must not become many expensive ones, and nothing goes out twice at once."""

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.simulator.notifier import Mode
from tests.security.person import person
from tests.support.world import World, live


class Slow:
    """A receiver that answers when told; counts what is open at once, by event."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.open = 0
        self.most = 0
        self.all = 0

    async def __call__(self, _request: Request) -> Response:
        self.open += 1
        self.all += 1
        self.most = max(self.most, self.open)
        await self.go.wait()
        self.open -= 1
        return Response()


def test_retries_on_top_of_one_on_the_wire(tmp_path: Path) -> None:
    slow: list[Slow] = []

    async def receive(request: Request) -> Response:
        return await slow[0](request)

    async def scene(it: World) -> None:
        slow.append(Slow())
        hook = await it.webhook("slow", url=f"{it.stores_url}/slow")
        it.apple.purchase("pro_monthly")
        await it.kernel.flush()
        await it.hub.ingest.processor.settle()
        async with asyncio.timeout(20):
            while not slow[0].open:
                await asyncio.sleep(0.005)
        async with person(it) as ada:
            event_id = it.events()[0]["id"]
            path = f"/projects/{it.project_id}/integrations/{hook.id}/deliveries/{event_id}/retry"
            answers = await asyncio.gather(*[ada.ask("POST", path, form={"csrf": ada.csrf}) for _ in range(15)])
            assert {one.status for one in answers} == {303}
            assert (slow[0].most, slow[0].all) == (1, 1)
            slow[0].go.set()
            await it.delivered()

    live(tmp_path, scene, routes=[Route("/slow", receive, methods=["POST"])])
    assert slow[0].most == 1
    assert slow[0].all <= 2


def test_repeated_notifications_ask_the_store_and_send_once(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.kernel.notifier.set_mode(Mode.PAUSE)
        it.google.purchase("pro:monthly")
        message = it.kernel.notifier.history[0].message
        answers = await asyncio.gather(
            *[it.push(message.url, message.body, dict(message.headers_fn())) for _ in range(20)]
        )
        assert {status for status, _ in answers} == {200}
        await it.hub.ingest.processor.settle()
        await it.delivered()
        assert len(it.told()) == 1
        assert len([row for row in it.inbox() if row["kind"] == "notification"]) == 1

    live(tmp_path, scene)


def test_rejected_notifications_fill_no_disk(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        for number in range(150):
            raw = b'{"signedPayload": "%d.%b"}' % (number, b"x" * 50_000)
            assert (await it.push(it.apple.notification_url, raw))[0] == 400
        rows = it.inbox()
        assert len(rows) <= 120
        assert max(map(len, it.bodies().values())) <= 4096

    live(tmp_path, scene)


def test_receipts_that_are_none_ask_no_store(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        before = len(it.kernel.log)
        for _ in range(20):
            await it.call("POST", "/v1/receipts", {"app_user_id": "a", "fetch_token": "junk"}, it.apple_key, "iOS")
        assert len(it.kernel.log) == before
        assert not it.attempts()

    live(tmp_path, scene)
