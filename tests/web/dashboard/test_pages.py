"""Pages as HTML: what they show, what they hide, and that nothing of another project can be reached."""

import re

import pytest

from bellwire.db.inbox import InboxEntry, append_entries
from bellwire.db.lane_states import BreakerState, LaneChange, save_lane_changes
from bellwire.db.notices import upsert_notice
from tests.support.threaded import ask
from tests.web.dashboard.conftest import Person, csrf_of
from tests.web.dashboard.hub import Hub, Sent, now_ms

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Scene:
    """One project with an app, an integration, a customer and a delivered event."""

    def __init__(self, hub: Hub, user: str = "ada", answer: bytes = b'{"ok": true}') -> None:
        self.project = hub.project()
        self.app = hub.app(self.project)
        self.integration = hub.integration(self.project)
        self.customer = hub.customer(self.project, user, plan="team")
        self.event: Sent = hub.event(self.project, self.customer, user, app_id=self.app)
        self.attempt = hub.attempt(self.event, self.integration, answer=answer)

    @property
    def delivery(self) -> str:
        return f"/projects/{self.project}/integrations/{self.integration}/deliveries/{self.event.event_id}"

    def paths(self, project: str) -> list[str]:
        """Every page of this scene's things, asked for under `project`."""
        return [
            f"/projects/{project}/integrations/{self.integration}",
            f"/projects/{project}/integrations/{self.integration}/deliveries/{self.event.event_id}",
            f"/projects/{project}/apps?app={self.app}",
            f"/projects/{project}/customers/{self.customer}",
            f"/projects/{project}/events/{self.event.event_id}",
        ]


@pytest.fixture(scope="module")
def scene(hub: Hub) -> Scene:
    return Scene(hub)


def test_every_page_of_a_project_opens_with_the_security_headers(person: Person, scene: Scene) -> None:
    project = scene.project
    lists = [f"/projects/{project}/{name}" for name in ("feed", "integrations", "apps")]
    for path in [*lists, *scene.paths(project)]:
        answer = person.get(path)
        assert answer.status == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_nothing_is_reached_through_another_project(hub: Hub, person: Person, scene: Scene) -> None:
    stranger = hub.project("Somebody else's")
    for path in [*scene.paths(stranger), *scene.paths("proj00000000")]:
        assert person.get(path).status == 404, path
    for path in (f"{scene.delivery}/retry", f"/projects/{scene.project}/integrations/{scene.integration}/test"):
        foreign = path.replace(scene.project, stranger)
        assert person.post(foreign, {"csrf": person.csrf}).status == 404
    assert hub.delivery.retried == []
    assert hub.delivery.tested == []
    assert scene.event.event_id not in person.get(f"/projects/{stranger}/feed").body.decode()
    by_filter = f"/projects/{stranger}/feed?integration={scene.integration}"
    assert scene.event.event_id not in person.get(by_filter).body.decode()


@pytest.mark.parametrize("path", ["customers/x", "customers/99999999999999999999", "customers/-1", "feed/older"])
def test_ids_that_are_none_are_not_found(person: Person, scene: Scene, path: str) -> None:
    assert person.get(f"/projects/{scene.project}/{path}").status == 404


def test_posts_need_the_sessions_csrf_token(hub: Hub, person: Person, scene: Scene) -> None:
    other = Person(hub)
    other.log_in()
    for token in (None, "", "guess", other.csrf):
        answer = person.post(f"{scene.delivery}/retry", None if token is None else {"csrf": token})
        assert answer.status == 403
        assert b"Load the page again" in answer.body
    assert hub.delivery.retried == []


def test_retry_by_form_and_by_htmx(hub: Hub, person: Person) -> None:
    scene = Scene(hub)
    answer = person.post(f"{scene.delivery}/retry", {"csrf": person.csrf})
    assert (answer.status, answer.headers["location"]) == (
        303,
        f"/projects/{scene.project}/events/{scene.event.event_id}",
    )
    answer = person.post(f"{scene.delivery}/retry", hx_request="true", x_csrf_token=person.csrf)
    assert answer.status == 200
    assert b"Trying again now" in answer.body
    assert hub.delivery.retried[-2:] == [(scene.project, scene.integration, scene.event.seq)] * 2
    hub.delivery.retried.clear()


def test_a_refusal_is_said_in_words(hub: Hub, person: Person, scene: Scene) -> None:
    hub.delivery.refusal = "the integration is switched off"
    answer = person.post(f"{scene.delivery}/retry", {"csrf": person.csrf})
    brief = person.post(f"{scene.delivery}/retry", hx_request="true", x_csrf_token=person.csrf)
    hub.delivery.refusal = ""
    assert answer.status == brief.status == 409
    assert b"The integration is switched off." in answer.body
    assert brief.body.strip() == b"The integration is switched off."


def test_test_button(hub: Hub, person: Person, scene: Scene) -> None:
    path = f"/projects/{scene.project}/integrations/{scene.integration}"
    answer = person.post(f"{path}/test", {"csrf": person.csrf})
    assert (answer.status, answer.headers["location"]) == (303, path)
    assert hub.delivery.tested == [(scene.project, scene.integration)]
    hub.delivery.tested.clear()


def test_secrets_are_masked_wherever_they_could_show(person: Person, scene: Scene) -> None:
    for path in (*scene.paths(scene.project), f"/projects/{scene.project}/integrations"):
        body = person.get(path).body.decode()
        assert "hunter2" not in body, path
        assert "PRIVATE KEY" not in body, path
    assert "••••••••" in person.get(scene.delivery).body.decode()


def test_what_strangers_wrote_is_text(hub: Hub, person: Person) -> None:
    scene = Scene(hub, user=EVIL, answer=EVIL.encode())
    hub.attempt(
        scene.event, scene.integration, number=2, reason=EVIL, answer=b'{"a": "</pre>' + EVIL.encode()[2:] + b'"}'
    )
    for path in (
        *scene.paths(scene.project),
        f"/projects/{scene.project}/feed",
        f"{scene.delivery}?attempt={scene.attempt}",
    ):
        body = person.get(path).body.decode()
        assert "<script>alert" not in body, path
        assert "<img" not in body, path
        assert not re.search(r"<pre[^>]*>[^<]*</pre>[^<]*<script", body)


def test_the_feed_shows_one_row_and_the_filters_of_the_address(hub: Hub, person: Person, scene: Scene) -> None:
    feed = f"/projects/{scene.project}/feed"
    key = f'id="d-{scene.integration}-{scene.event.event_id}"'
    assert key in person.get(feed).body.decode()
    assert (
        key in person.get(f"{feed}?status=sent&type=INITIAL_PURCHASE&environment=PRODUCTION&customer=ada").body.decode()
    )
    nothing = person.get(f"{feed}?status=failed").body.decode()
    assert key not in nothing
    assert "No deliveries match these filters" in nothing
    assert key in person.get(f"{feed}?status=nonsense&type=nonsense").body.decode()


def test_older_rows_come_as_a_fragment_with_the_next_step(hub: Hub, person: Person) -> None:
    project = hub.project()
    lane = hub.integration(project)
    customer = hub.customer(project, "many")
    for _ in range(55):
        hub.attempt(hub.event(project, customer, "many"), lane, wake=False)
    first = person.get(f"/projects/{project}/feed").body.decode()
    step = re.search(r'hx-get="([^"]+/older\?before=\d+)"', first)
    assert step is not None
    second = person.get(step[1]).body.decode()
    ids = re.compile(r'<tbody id="(d-[^"]+)"')
    found = ids.findall(first) + ids.findall(second)
    assert len(found) == len(set(found)) == 55
    assert "<html" not in second
    assert "This is the beginning of the feed" in second


def test_a_waiting_delivery_is_shown_before_its_first_attempt(hub: Hub, person: Person) -> None:
    project = hub.project()
    lane = hub.integration(project)
    event = hub.event(project, hub.customer(project, "waits"), "waits", age_ms=5_000)
    hub.queue(event, lane)
    body = person.get(f"/projects/{project}/feed").body.decode()
    assert "Queued" in body
    detail = person.get(f"/projects/{project}/integrations/{lane}/deliveries/{event.event_id}").body.decode()
    assert "Nothing has been sent yet" in detail


def test_integrations_show_how_they_are_doing(hub: Hub, person: Person) -> None:
    project = hub.project()
    lane = hub.integration(project, "Doing badly")
    customer = hub.customer(project, "c")
    for outcome, status in (("delivered", 200), ("delivered", 200), ("rejected", 422)):
        hub.attempt(hub.event(project, customer, "c"), lane, outcome=outcome, status=status)
    hub.queue(hub.event(project, customer, "c"), lane, state=2, attempt=9)
    body = person.get(f"/projects/{project}/integrations").body.decode()
    assert "66.6 %" in body
    assert "Rejected" in body
    page = person.get(f"/projects/{project}/integrations/{lane}").body.decode()
    assert "https://api.example.com/hooks" in page
    assert "Authorization" in page


def test_a_lane_says_in_words_what_is_in_its_way(hub: Hub, person: Person) -> None:
    project = hub.project()
    lane = hub.integration(project, "Lane")

    def page() -> str:
        return person.get(f"/projects/{project}/integrations/{lane}").body.decode()

    def tell(**columns: object) -> None:
        change = LaneChange(integration_id=lane, project_id=project, columns=columns)
        with hub.engine.begin() as connection:
            save_lane_changes(connection, [change], now_ms=now_ms())

    assert "Events go out as they come" in page()
    tell(blocked_until_ms=now_ms() + 600_000, last_failure="answered <b>429</b>", last_failure_at_ms=now_ms())
    assert "asked to be left alone" in page()
    assert "answered &lt;b&gt;429&lt;/b&gt;" in page()
    tell(blocked_until_ms=None, breaker=BreakerState.OPEN, breaker_since_ms=now_ms(), next_probe_at_ms=now_ms())
    assert "The circuit breaker opened" in page()
    assert "Try now" in page()
    tell(breaker=BreakerState.HALF_OPEN)
    assert "one request is on its way and decides" in page()
    assert "NOT ANSWERING" in person.get(f"/projects/{project}/integrations").body.decode()


def test_integration_says_how_long_its_events_take(hub: Hub, person: Person) -> None:
    project = hub.project()
    lane = hub.integration(project, "Lane")
    address = f"/projects/{project}/integrations/{lane}"
    assert "last hour" not in person.get(address).body.decode()
    hub.attempt(hub.event(project, hub.customer(project, "ann"), "ann"), lane, duration_ms=1240)
    page = person.get(address).body.decode()
    assert "Sent to answered, last hour" in page
    assert "99 of 100 within 1.24 s" in page


def test_pause_and_resume_are_buttons(hub: Hub, person: Person) -> None:
    project = hub.project()
    lane = hub.integration(project, "Lane")
    address = f"/projects/{project}/integrations/{lane}"
    token = {"csrf": csrf_of(person.get(address))}
    assert person.post(f"{address}/pause").status == 403
    assert person.post(f"{address}/pause", token).status == 303
    page = person.get(address).body.decode()
    assert "by hand, by ada@example.com" in page
    assert f'action="{address}/resume"' in page
    assert person.post(f"{address}/resume", token).status == 303
    assert "Events go out as they come" in person.get(address).body.decode()
    other = hub.project("Other")
    assert person.post(f"/projects/{other}/integrations/{lane}/pause", token).status == 404
    assert "Events go out as they come" in person.get(address).body.decode()


def test_apps_show_the_address_for_the_store_and_what_came_in(hub: Hub, person: Person, scene: Scene) -> None:
    with hub.engine.begin() as connection:
        entry = InboxEntry(
            id=7,
            project_id=scene.project,
            app_id=scene.app,
            store="APP_STORE",
            kind="notification",
            dedup_key="n1",
            type="DID_RENEW",
            received_at_ms=now_ms(),
            body=b"{}",
            status="rejected",
            error="The signature does not match.",
        )
        append_entries(connection, [entry])
        upsert_notice(
            connection,
            project_id=scene.project,
            kind="unknown_product",
            subject="pro_x",
            message="Product pro_x was bought but is not in the catalogue.",
            now_ms=now_ms(),
        )
    body = person.get(f"/projects/{scene.project}/apps").body.decode()
    assert "/v1/incoming-webhooks/apple/" in body
    assert "Accepted" in body
    assert "DID_RENEW" in body
    assert "The signature does not match." in body
    assert "Product pro_x was bought" in body
    assert "Product pro_x was bought" in person.get(f"/projects/{scene.project}/feed").body.decode()
    fields = {"kind": "unknown_product", "subject": "pro_x", "csrf": person.csrf}
    assert person.post(f"/projects/{scene.project}/notices/dismiss", fields).status == 303
    assert "Product pro_x was bought" not in person.get(f"/projects/{scene.project}/apps").body.decode()


def test_a_customer_with_ids_attributes_and_events(person: Person, scene: Scene) -> None:
    body = person.get(f"/projects/{scene.project}/customers/{scene.customer}").body.decode()
    for text in ("ada", "plan", "team", "INITIAL_PURCHASE", "$9.99", "No purchase is known"):
        assert text in body


def test_an_event_says_where_it_went_and_how_long_each_stage_took(person: Person, scene: Scene) -> None:
    body = person.get(f"/projects/{scene.project}/events/{scene.event.event_id}").body.decode()
    assert "Backend" in body
    assert "+728 ms" in body
    assert "+12 ms" in body


def test_empty_projects_say_what_to_do_next(hub: Hub, person: Person) -> None:
    project = hub.project("Empty")
    assert "bellwire integration create" in person.get(f"/projects/{project}/feed").body.decode()
    assert "bellwire integration create" in person.get(f"/projects/{project}/integrations").body.decode()
    assert "bellwire app create" in person.get(f"/projects/{project}/apps").body.decode()


def test_static_files_carry_the_headers_and_stay_in_their_folder(hub: Hub) -> None:
    answer = ask(hub.port, "GET", "/static/feed.css")
    assert answer.status == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = ask(hub.port, "GET", "/static/feed.css", headers={"if-none-match": answer.headers["etag"]})
    assert again.status == 304
    assert ask(hub.port, "GET", "/static/../routes.py").status == 404
    assert ask(hub.port, "GET", "/static/%2e%2e/routes.py").status == 404
