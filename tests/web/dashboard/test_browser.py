"""The dashboard in a real browser: what moves, what is kept, and that nothing a stranger wrote ever runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.browser import running_chromium
from tests.web.dashboard.hub import EMAIL, PASSWORD, Hub, Sent, serving_hub

pytestmark = pytest.mark.xdist_group("browser")

ROOT = Path(__file__).parents[3]
AXE = ROOT / "node_modules/axe-core/axe.min.js"
EVIL = '"><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as running:
        yield running


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Hub]:
    """Asks for the browser only to be closed before it: open pages would hold the server up."""
    with serving_hub(tmp_path_factory.mktemp("hub")) as served:
        served.project("First project")
        yield served
        for context in browser.contexts:
            context.close()


@pytest.fixture(scope="module")
def session(hub: Hub, browser: Browser) -> list[dict[str, object]]:
    """Cookies of one login, which every test may use."""
    context = browser.new_context()
    page = context.new_page()
    log_in(page, hub)
    cookies = [dict(cookie) for cookie in context.cookies()]
    context.close()
    return cookies


@pytest.fixture
def heard() -> list[str]:
    """What the page said on its console."""
    return []


@pytest.fixture
def page(browser: Browser, hub: Hub, session: list[dict[str, object]], heard: list[str]) -> Iterator[Page]:
    """A page of somebody who is logged in; the test fails if anything lands on the console."""
    context: BrowserContext = browser.new_context(
        viewport={"width": 1280, "height": 800},
        storage_state={"cookies": session, "origins": []},  # pyrefly: ignore[bad-argument-type]
        color_scheme="light",
    )
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    opened.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: heard.append(f"error: {error}"))
    yield opened
    context.close()
    assert heard == []


class Scene:
    def __init__(self, hub: Hub, user: str = "ada") -> None:
        self.hub = hub
        self.project = hub.project()
        self.app = hub.app(self.project)
        self.lane = hub.integration(self.project)
        self.user = user
        self.customer = hub.customer(self.project, user)

    def event(self, kind: str = "RENEWAL", environment: str = "PRODUCTION") -> Sent:
        return self.hub.event(
            self.project, self.customer, self.user, kind=kind, environment=environment, app_id=self.app
        )

    def open_feed(self, page: Page, query: str = "") -> None:
        page.goto(f"{self.hub.url}/projects/{self.project}/feed{query}")
        expect(page.locator("#live")).to_have_attribute("data-state", "live")

    def toggle(self, event: Sent) -> str:
        return f"#t-{self.lane}-{event.event_id}"

    def row(self, event: Sent) -> str:
        return f"#r-{self.lane}-{event.event_id}"


@pytest.fixture
def scene(hub: Hub) -> Scene:
    return Scene(hub)


def log_in(page: Page, hub: Hub, password: str = PASSWORD) -> None:
    page.goto(hub.url)
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_login_is_required_and_a_wrong_password_is_said(browser: Browser, hub: Hub) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{hub.url}/projects/x/integrations")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    log_in(page, hub, "not the password")
    expect(page.get_by_role("alert")).to_have_text("E-mail address or password is wrong.")
    expect(page.get_by_label("E-mail")).to_have_value(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(r"/feed$"))
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile(r"/login$"))
    context.close()


def test_a_delivery_appears_without_a_reload(page: Page, scene: Scene) -> None:
    scene.open_feed(page)
    expect(page.get_by_text("Waiting for the first event")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    event = scene.event("INITIAL_PURCHASE", "SANDBOX")
    scene.hub.attempt(event, scene.lane)
    row = page.locator(scene.row(event))
    expect(row).to_contain_text("INITIAL_PURCHASE")
    expect(row).to_contain_text("Delivered")
    expect(row).to_contain_text("SANDBOX")
    expect(row.locator(".c-code")).to_have_text("200")
    expect(row.locator(".c-latency")).to_have_text("87")
    expect(page.get_by_text("Waiting for the first event")).to_have_count(0)
    second = scene.event()
    scene.hub.attempt(second, scene.lane)
    expect(page.locator("tbody.delivery").first).to_have_attribute("id", f"d-{scene.lane}-{second.event_id}")
    assert page.evaluate("window.sameDocument")


def test_a_row_is_updated_where_it_stands(page: Page, scene: Scene) -> None:
    first, second = scene.event(), scene.event()
    scene.hub.attempt(first, scene.lane, outcome="retry", status=503, next_in_ms=60_000)
    scene.hub.attempt(second, scene.lane)
    scene.open_feed(page)
    expect(page.locator(scene.row(first))).to_contain_text("Retrying")
    scene.hub.attempt(first, scene.lane, number=2)
    expect(page.locator(scene.row(first))).to_contain_text("Delivered")
    expect(page.locator("tbody.delivery").nth(1)).to_have_attribute("id", f"d-{scene.lane}-{first.event_id}")
    expect(page.locator("tbody.delivery")).to_have_count(2)


def test_an_opened_row_shows_request_and_answer_with_secrets_masked(page: Page, scene: Scene) -> None:
    event = scene.event()
    scene.hub.attempt(event, scene.lane)
    scene.open_feed(page)
    page.locator(scene.toggle(event)).click()
    detail = page.locator(f"#b-{scene.lane}-{event.event_id}")
    expect(detail).to_contain_text("https://api.example.com/hooks")
    expect(detail).to_contain_text("••••••••")
    expect(detail).to_contain_text('"api_version": "1.0"')
    expect(detail).to_contain_text("+31 ms")
    assert "hunter2" not in page.content()
    raw = detail.locator(".raw").first
    expect(raw).to_be_hidden()
    detail.get_by_role("button", name="Raw").first.click()
    expect(raw).to_be_visible()
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_retry_is_posted_and_the_open_row_follows(page: Page, scene: Scene) -> None:
    event = scene.event()
    scene.hub.attempt(event, scene.lane, outcome="rejected", status=422, reason="Refused.")
    scene.open_feed(page)
    page.locator(scene.toggle(event)).click()
    detail = page.locator(f"#b-{scene.lane}-{event.event_id}")
    detail.locator(".event-json summary").click()
    detail.get_by_role("button", name="Retry").click()
    expect(detail).to_contain_text("Trying again now.")
    assert scene.hub.delivery.retried[-1] == (scene.project, scene.lane, event.seq)
    scene.hub.attempt(event, scene.lane, number=2, trigger="manual", reason="Accepted at last.")
    expect(page.locator(scene.row(event))).to_contain_text("Delivered")
    expect(detail).to_be_visible()
    expect(detail).to_contain_text("Accepted at last.")
    expect(detail.locator(".event-json")).to_have_attribute("open", "")
    expect(page.locator(scene.toggle(event))).to_have_attribute("aria-expanded", "true")
    detail.get_by_role("button", name="Show attempt 1").click()
    expect(detail.locator(".verdict")).to_contain_text("Refused.")


def test_new_rows_wait_while_somebody_reads(page: Page, scene: Scene) -> None:
    event, later = scene.event(), scene.event()
    scene.hub.attempt(event, scene.lane)
    scene.open_feed(page)
    page.locator(scene.toggle(event)).click()
    scene.hub.attempt(later, scene.lane)
    pill = page.get_by_role("button", name="1 new")
    expect(pill).to_be_visible()
    expect(page.locator(scene.row(later))).to_have_count(0)
    page.locator(scene.toggle(event)).click()
    expect(page.locator(scene.row(later))).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    third = scene.event()
    scene.hub.attempt(third, scene.lane)
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(scene.row(third))).to_be_visible()
    page.locator(scene.toggle(third)).click()  # rows that waited work like the others
    expect(page.locator(f"#b-{scene.lane}-{third.event_id}")).to_contain_text("REQUEST", ignore_case=True)


def test_filters_are_in_the_address_and_hold_for_the_stream(page: Page, scene: Scene) -> None:
    scene.open_feed(page)
    page.get_by_label("Event type").select_option("CANCELLATION")
    expect(page).to_have_url(re.compile(r"/feed\?type=CANCELLATION$"))
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    other, wanted = scene.event("RENEWAL"), scene.event("CANCELLATION")
    scene.hub.attempt(other, scene.lane)
    scene.hub.attempt(wanted, scene.lane)
    expect(page.locator(scene.row(wanted))).to_be_visible()
    expect(page.locator(scene.row(other))).to_have_count(0)
    page.go_back()
    expect(page.locator(scene.row(other))).to_be_visible()


def test_what_strangers_wrote_never_runs(page: Page, hub: Hub) -> None:
    scene = Scene(hub, user=EVIL)
    scene.open_feed(page)
    event = scene.event()
    scene.hub.attempt(event, scene.lane, reason=EVIL, answer=EVIL.encode())
    page.locator(scene.toggle(event)).click()
    expect(page.locator(f"#res-{scene.lane}-{event.event_id}-raw")).to_have_text(EVIL)
    page.get_by_role("link", name="Customer", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(EVIL)
    assert page.title() == f"{EVIL} · Bellwire"
    assert page.locator("img").count() == 0


def test_inline_script_is_refused_by_the_policy(page: Page, scene: Scene) -> None:
    answer = page.goto(f"{scene.hub.url}/projects/{scene.project}/feed")
    assert answer is not None
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert page.evaluate("htmx.config.allowEval") is False


def test_the_theme_follows_the_system_until_one_is_chosen(page: Page, scene: Scene) -> None:
    scene.open_feed(page)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.get_by_role("button", name="Theme: system").click()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Theme: light").click()
    page.emulate_media(color_scheme="light")
    page.reload()
    assert page.evaluate(ground) == dark
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()


def test_at_most_so_many_rows_stay(page: Page, scene: Scene) -> None:
    first = scene.event()
    scene.hub.attempt(first, scene.lane)
    scene.open_feed(page)
    for _ in range(4):
        for _ in range(149):
            scene.hub.attempt(scene.event(), scene.lane, wake=False)
        last = scene.event()
        scene.hub.attempt(last, scene.lane)
        expect(page.locator(scene.row(last))).to_be_visible()
    expect(page.locator(scene.row(first))).to_have_count(0)
    assert page.locator("tbody.delivery").count() == 500


def test_a_lost_connection_is_said_and_made_up_for(page: Page, scene: Scene, heard: list[str]) -> None:
    scene.open_feed(page)
    before, missed = scene.event(), scene.event()
    scene.hub.attempt(before, scene.lane)
    expect(page.locator(scene.row(before))).to_be_visible()
    page.context.set_offline(True)  # open streams stay; so end them from the other side
    scene.hub.delivery.wake(-1)
    expect(page.locator("#live")).to_have_attribute("data-state", "lost")
    scene.hub.attempt(missed, scene.lane)
    page.context.set_offline(False)
    expect(page.locator(scene.row(missed))).to_be_visible()
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    heard.clear()  # the browser itself reports a lost connection


def test_everything_can_be_reached_by_keyboard(page: Page, scene: Scene) -> None:
    event = scene.event()
    scene.hub.attempt(event, scene.lane)
    scene.open_feed(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.locator(scene.toggle(event)).focus()
    page.keyboard.press("Enter")
    detail = page.locator(f"#b-{scene.lane}-{event.event_id}")
    expect(detail).to_contain_text("api.example.com")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator(scene.toggle(event))).to_have_attribute("aria-expanded", "false")


def test_a_phone_shows_it_all_without_sideways_scrolling(page: Page, scene: Scene) -> None:
    event = scene.event()
    scene.hub.attempt(event, scene.lane)
    page.set_viewport_size({"width": 375, "height": 740})
    names = ("feed", "integrations", f"integrations/{scene.lane}", "apps", f"events/{event.event_id}")
    for name in (*names, f"customers/{scene.customer}"):
        page.goto(f"{scene.hub.url}/projects/{scene.project}/{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, name
    scene.open_feed(page)
    page.locator(scene.toggle(event)).click()
    expect(page.locator(f"#b-{scene.lane}-{event.event_id}")).to_contain_text("api.example.com")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_serious_accessibility_fault(page: Page, scene: Scene, theme: str) -> None:
    failed = scene.event("BILLING_ISSUE", "SANDBOX")
    scene.hub.attempt(failed, scene.lane, outcome="retry", status=503, next_in_ms=60_000)
    scene.hub.attempt(scene.event(), scene.lane, outcome="rejected", status=422)
    scene.hub.attempt(scene.event(), scene.lane, outcome="skipped", status=None)
    scene.hub.attempt(scene.event(), scene.lane)
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    base = f"{scene.hub.url}/projects/{scene.project}"
    names = ("integrations", f"integrations/{scene.lane}", "apps", f"events/{failed.event_id}", "feed")
    faults: list[str] = []
    for name in (f"customers/{scene.customer}", *names):
        page.goto(f"{base}/{name}")
        faults += axe(page, name)
    page.locator(scene.toggle(failed)).click()
    expect(page.locator(f"#b-{scene.lane}-{failed.event_id}")).to_contain_text("api.example.com")
    faults += axe(page, "an opened row")
    assert "\n".join(faults) == ""


def axe(page: Page, where: str) -> list[str]:
    """Serious and critical findings."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{where}: {one['id']}: {one['nodes'][0]['html']} {one['nodes'][0]['any'][:1]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
