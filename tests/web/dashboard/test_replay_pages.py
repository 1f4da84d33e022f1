"""The pages of replays and parked deliveries in a real browser, and what they refuse."""

import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from bellwire.db.replay_selection import find_portion
from bellwire.db.replays import list_replays, open_replays, put_out
from bellwire.db.tables import attempts, outbox, replays
from bellwire.kit.clock import SystemClock
from bellwire.model.projects import Integration
from tests.support.browser import running_chromium
from tests.web.dashboard.conftest import Person
from tests.web.dashboard.hub import Hub, Sent, serving_hub
from tests.web.dashboard.test_browser import axe, log_in

pytestmark = pytest.mark.xdist_group("browser")

now_ms = SystemClock().now_ms


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as running:
        yield running


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Hub]:
    with serving_hub(tmp_path_factory.mktemp("hub")) as served:
        served.project("First project")
        yield served
        for context in browser.contexts:
            context.close()


@pytest.fixture
def page(browser: Browser, hub: Hub) -> Iterator[Page]:
    """Fails the test if anything lands on the console."""
    heard: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    opened.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: heard.append(f"error: {error}"))
    log_in(opened, hub)
    expect(opened).to_have_url(re.compile("/feed$"))
    heard.clear()
    yield opened
    context.close()
    assert heard == []


class Scene:
    """A project with a lane and eight events, of which the first four are parked."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.project = hub.project()
        self.app = hub.app(self.project)
        self.lane = hub.integration(self.project)
        self.base = f"{hub.url}/projects/{self.project}"
        self.events: list[Sent] = []
        for number in range(8):
            user = f"user-{number % 3}"
            customer = hub.customer(self.project, user) if number < 3 else self.events[number % 3].customer_id
            kind = "RENEWAL" if number % 2 else "EXPIRATION"
            self.events.append(hub.event(self.project, customer, user, kind=kind, age_ms=number * 86_400_000))
        for event in self.events[:4]:
            hub.attempt(
                event, self.lane, outcome="rejected", reason="The receiver answered 422.", status=422, parked=True
            )
            hub.queue(event, self.lane, state=2, attempt=1)

    def work(self) -> None:
        """What a worker would do: put everything out."""
        lane = Integration(id=self.lane, project_id=self.project, destination="webhook", name="Backend")
        with self.hub.engine.begin() as connection:
            for replay in open_replays(connection, now_ms=now_ms()):
                found, upto = find_portion(
                    connection, lane, replay.selection, after=replay.cursor, last=replay.last, rows=100, scan=100
                )
                put_out(connection, replay, found, upto=upto, paced_at_ms=0, now_ms=now_ms())

    def deliver(self, count: int, *, end: bool = False) -> None:
        with self.hub.engine.begin() as connection:
            ids = connection.execute(
                sa.select(outbox.c.id).where(outbox.c.integration_id == self.lane, outbox.c.replay_id.is_not(None))
            ).scalars()
            connection.execute(sa.delete(outbox).where(outbox.c.id.in_(list(ids)[:count])))
            values: dict[str, object] = {"delivered": replays.c.delivered + count}
            if end:
                values |= {"status": "done", "ended_at_ms": now_ms()}
            connection.execute(sa.update(replays).where(replays.c.project_id == self.project).values(values))

    def parked(self) -> int:
        query = sa.select(sa.func.count()).select_from(outbox)
        with self.hub.engine.connect() as connection:
            return connection.execute(
                query.where(outbox.c.integration_id == self.lane, outbox.c.state == 2)
            ).scalar_one()


@pytest.fixture
def scene(hub: Hub) -> Scene:
    return Scene(hub)


def test_a_replay_shows_first_what_would_go_and_then_how_far_it_is(scene: Scene, page: Page) -> None:
    page.goto(f"{scene.base}/integrations/{scene.lane}")
    page.get_by_role("link", name="Replay…").click()
    expect(page.get_by_role("combobox", name="To", exact=True)).to_have_value(scene.lane)
    page.get_by_label("Event type").select_option("RENEWAL")
    page.get_by_label("At most a second").fill("50")
    page.get_by_role("button", name="Show what would go").click()
    expect(page.get_by_role("heading", name="4 deliveries would go to Backend")).to_be_visible()
    with scene.hub.engine.connect() as connection:
        assert list_replays(connection, scene.project, now_ms=now_ms()) == []
    page.get_by_role("button", name="Send 4 deliveries").click()
    expect(page).to_have_url(f"{scene.base}/replays")
    row = page.locator("#replays tbody tr")
    expect(row).to_contain_text("Waiting")
    expect(row).to_contain_text("at most 50 a second")
    scene.work()
    expect(row).to_contain_text("Running")
    scene.deliver(3)
    expect(row).to_contain_text("3 delivered of 4")
    scene.deliver(1, end=True)
    expect(row).to_contain_text("Done")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "100")
    expect(page.locator("#replays")).not_to_have_attribute("hx-get", re.compile("."))


def test_a_replay_can_be_cancelled(scene: Scene, page: Page) -> None:
    page.goto(f"{scene.base}/replays/new?integration={scene.lane}&what=history&show=on")
    page.get_by_role("button", name="Send 8 deliveries").click()
    scene.work()
    expect(page.locator("#replays tbody tr")).to_contain_text("Running")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#replays tbody tr")).to_contain_text("Cancelled")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert scene.parked() == 4


def test_parked_deliveries_are_chosen_retried_and_discarded(scene: Scene, page: Page) -> None:
    page.goto(f"{scene.base}/parked")
    rows = page.locator("table.parked tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("The receiver answered 422.")
    page.get_by_label("Event type").select_option("RENEWAL")
    expect(rows).to_have_count(2)
    rows.first.get_by_role("checkbox").check()
    page.get_by_label("Reason for discarding").fill("test data")
    page.get_by_role("button", name="Discard").click()
    expect(rows).to_have_count(1)
    expect(page).to_have_url(re.compile(r"type=RENEWAL"))
    with scene.hub.engine.connect() as connection:
        said = connection.execute(sa.select(attempts.c.reason).where(attempts.c.outcome == "skipped")).scalars().all()
    assert "Discarded by ada@example.com: test data" in said
    page.goto(f"{scene.base}/parked")
    page.get_by_label("All on this page").check()
    expect(page.locator("table.parked tbody input:checked")).to_have_count(3)
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#replays tbody tr")).to_contain_text("3 selected")
    scene.work()
    page.goto(f"{scene.base}/parked")
    expect(page.get_by_role("heading", name="Nothing is parked")).to_be_visible()


def test_all_that_the_filters_leave(scene: Scene, page: Page) -> None:
    page.goto(f"{scene.base}/parked?type=EXPIRATION")
    page.get_by_label("All that the filters leave").check()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#replays tbody tr")).to_contain_text("Parked deliveries; EXPIRATION")
    scene.work()
    assert scene.parked() == 2
    page.goto(f"{scene.base}/parked")
    page.get_by_label("All that are parked").check()
    page.get_by_label("Reason for discarding").fill("enough")
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("heading", name="Nothing is parked")).to_be_visible()


def test_the_pages_have_no_serious_fault(scene: Scene, page: Page) -> None:
    faults: list[str] = []
    empty = scene.hub.project("Empty")
    page.goto(f"{scene.base}/replays/new?integration={scene.lane}&what=history&show=on")
    faults += axe(page, "the dry run")
    page.get_by_role("button", name="Send 8 deliveries").click()
    scene.work()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        for address in (
            f"{scene.base}/replays",
            f"{scene.base}/replays/new?integration={scene.lane}&what=history&show=on",
        ):
            page.goto(address)
            faults += axe(page, f"{scheme} {address}")
        for name in ("replays", "parked"):
            page.goto(f"{scene.hub.url}/projects/{empty}/{name}")
            faults += axe(page, f"{scheme} empty {name}")
    other = Scene(scene.hub)
    page.goto(f"{other.base}/parked")
    faults += axe(page, "parked")
    assert "\n".join(faults) == ""


def test_what_is_not_understood_or_not_theirs(hub: Hub, scene: Scene) -> None:
    person = Person(hub)
    person.log_in()
    csrf = {"csrf": person.csrf}
    path = f"/projects/{scene.project}"
    other = Scene(hub)
    stranger = f"/projects/{other.project}"
    wrong = person.get(f"{path}/replays/new?integration={scene.lane}&show=on&since=yesterday")
    assert b"Write times as" in wrong.body
    assert person.get(f"{path}/replays/new?integration={other.lane}&show=on").status == 404
    assert person.post(f"{path}/replays", {"integration": scene.lane, "rate": "0"} | csrf).status == 400
    assert person.post(f"{path}/replays", {"integration": other.lane} | csrf).status == 404
    assert person.post(f"{path}/replays", {"integration": scene.lane}).status == 403
    assert person.post(f"{path}/replays/rply0/cancel", csrf).status == 404
    assert person.post(f"{path}/replays", {"integration": scene.lane, "what": "failed"} | csrf).status == 303
    with hub.engine.connect() as connection:
        (made,) = list_replays(connection, scene.project, now_ms=now_ms())
        ids = connection.execute(sa.select(outbox.c.id).where(outbox.c.integration_id == scene.lane)).scalars().all()
    assert person.post(f"{stranger}/replays/{made.id}/cancel", csrf).status == 404
    ticked = {f"d-{one}": "on" for one in ids}
    assert person.post(f"{stranger}/parked/discard", {"reason": "x"} | ticked | csrf).status == 409
    assert person.post(f"{stranger}/parked/retry", ticked | csrf).status == 409
    assert b"say why" in person.post(f"{path}/parked/discard", ticked | csrf).body.lower()
    assert person.post(f"{path}/parked/retry", {"d-x": "on"} | csrf).status == 409
    assert scene.parked() == 4
