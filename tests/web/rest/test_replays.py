"""`/v2/projects/{project_id}/replays` and `/parked_deliveries`, as docs/guide/replay.md documents them."""

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bellwire.db.attempts import AttemptRecord, append_attempts
from bellwire.db.engine import open_engine
from bellwire.db.integrations import create_integration, delete_integration, update_integration
from bellwire.db.outbox import OutboxRow, State, enqueue_rows
from bellwire.db.secrets import Sealer
from bellwire.db.tables import attempts, events, outbox, replays
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from tests.web.conftest import Door

GUIDE = Path(__file__).parents[3] / "docs/guide/replay.md"
JSON = {"Content-Type": "application/json"}


@dataclass
class World:
    """A project with one integration and what is done behind the wire's back."""

    door: Door
    engine: sa.Engine
    sealer: Sealer
    lane: str

    def ask(
        self, method: str, path: str, body: object = None, *, project: str = "", status: int = 200, **more: Any
    ) -> Any:
        """Below the project; the answer's JSON."""
        key = more.pop("key", self.door.secret_key)
        raw = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers: dict[str, str] = {} if raw is None else JSON
        answered = self.door.ask(
            method,
            f"/v2/projects/{project or self.door.project_id}{path}",
            key=key,
            body=raw,
            more=headers | more.pop("headers", {}),
        )
        assert answered.status == status, answered.body
        return json.loads(answered.body)

    def events(self, *kinds: str) -> list[str]:
        made = [str(uuid.uuid4()) for _ in kinds]
        with self.engine.begin() as connection:
            for event_id, kind in zip(made, kinds, strict=True):
                connection.execute(
                    sa.insert(events).values(
                        id=event_id,
                        project_id=self.door.project_id,
                        customer_id=1,
                        type=kind,
                        environment="PRODUCTION",
                        app_user_id="user-42",
                        event_timestamp_ms=1_761_960_000_000,
                        committed_at_ms=1_761_960_000_000,
                        dispatched=True,
                        historical=False,
                        payload=b"{}",
                    )
                )
        return made

    def park(self, *event_ids: str) -> list[str]:
        with self.engine.begin() as connection:
            for event_id in event_ids:
                seq = connection.execute(sa.select(events.c.seq).where(events.c.id == event_id)).scalar_one()
                enqueue_rows(
                    connection, [OutboxRow(integration_id=self.lane, event_seq=seq, customer_id=1, created_at_ms=1)]
                )
                record = AttemptRecord(
                    project_id=self.door.project_id,
                    integration_id=self.lane,
                    event_seq=seq,
                    event_id=event_id,
                    event_type="RENEWAL",
                    app_user_id="user-42",
                    environment="PRODUCTION",
                    attempt=1,
                    trigger="automatic",
                    outcome="rejected",
                    reason="The receiver answered 422.",
                    status_code=422,
                    started_at_ms=1,
                    parked=True,
                )
                append_attempts(connection, [record])
            connection.execute(sa.update(outbox).values(state=State.PARKED.value, attempt=1))
            return [str(one) for one in connection.execute(sa.select(outbox.c.id).order_by(outbox.c.id)).scalars()]


@pytest.fixture
def world(door: Door) -> Iterator[World]:
    engine = open_engine(f"sqlite:///{door.folder / 'bellwire.db'}")
    sealer = Sealer.open_or_create(door.folder)
    with engine.begin() as connection:
        for table in (outbox, attempts, replays, events):
            connection.execute(sa.delete(table))
        made = create_integration(
            connection,
            sealer,
            project_id=door.project_id,
            destination="webhook",
            name="Backend",
            settings=WebhookSettings(url="https://example.com/in"),
            now_ms=1,
        )
    yield World(door, engine, sealer, made.id)
    with engine.begin() as connection:
        delete_integration(connection, door.project_id, made.id, now_ms=2)
    engine.dispose()


def documented(name: str) -> Any:
    found = re.search(rf"```json {name}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found, f"the guide shows no {name}"
    return json.loads(found[1])


def shape(value: Any) -> Any:
    """The names in a JSON value, however deep."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def test_the_guide_shows_what_is_sent(world: World) -> None:
    first, second = world.events("RENEWAL", "RENEWAL")
    body = documented("request") | {"integration_id": world.lane, "customer_id": None}
    made = world.ask("POST", "/replays", body, status=201)
    assert shape(made) == shape(documented("replay"))
    assert made["selection"]["event_types"] == ["INITIAL_PURCHASE", "RENEWAL"]
    assert (made["total"], made["status"], made["rate_per_second"]) == (2, "waiting", 50.0)
    assert made["created_by"].startswith("API key k (sk_…")
    assert shape(world.ask("POST", "/replays/preview", body)) == shape(documented("preview"))
    world.park(first, second)
    listed = world.ask("GET", "/parked_deliveries")
    assert shape(listed["items"][0]) == shape(documented("parked_delivery"))
    wrong = world.ask("POST", "/replays", body | {"rate_per_second": 0}, status=400)
    assert shape(wrong) == shape(documented("error"))
    assert (wrong["type"], wrong["param"]) == ("parameter_error", "rate_per_second")


def test_the_guide_names_every_endpoint() -> None:
    from bellwire.web.rest.surface import ENDPOINTS

    text = GUIDE.read_text()
    for method, path, _ in ENDPOINTS:
        assert f"`{method} {path}`" in text


def test_a_preview_makes_nothing(world: World) -> None:
    world.events("RENEWAL", "EXPIRATION", "SUBSCRIBER_ALIAS")
    found = world.ask("POST", "/replays/preview", {"integration_id": world.lane, "what": "history"})
    assert (found["total"], found["left_out"]["by_filters"]) == (2, 1)
    assert world.ask("GET", "/replays")["items"] == []


def test_an_idempotency_key_makes_one_replay(world: World) -> None:
    body = {"integration_id": world.lane, "what": "failed"}
    key = {"Idempotency-Key": "once"}
    first = world.ask("POST", "/replays", body, status=201, headers=key)
    assert world.ask("POST", "/replays", body, status=201, headers=key)["id"] == first["id"]
    other = world.ask("POST", "/replays", body | {"what": "parked"}, status=409, headers=key)
    assert other["type"] == "idempotency_error"


def test_lists_have_pages(world: World) -> None:
    body = {"integration_id": world.lane, "what": "failed"}
    made = [world.ask("POST", "/replays", body, status=201)["id"] for _ in range(5)]
    seen: list[str] = []
    path = "/replays?limit=2"
    while path:
        page = world.ask("GET", path)
        assert (page["object"], page["url"]) == ("list", f"/v2/projects/{world.door.project_id}/replays")
        seen += [one["id"] for one in page["items"]]
        path = (page["next_page"] or "").removeprefix(f"/v2/projects/{world.door.project_id}")
    assert sorted(seen) == sorted(made)
    assert len(world.ask("GET", f"/replays?integration_id={world.lane}")["items"]) == 5
    assert world.ask("GET", "/replays?integration_id=other")["items"] == []
    assert world.ask("GET", "/replays?limit=x", status=400)["param"] == "limit"


def test_cancelling(world: World) -> None:
    made = world.ask("POST", "/replays", {"integration_id": world.lane, "what": "failed"}, status=201)
    path = f"/replays/{made['id']}"
    assert world.ask("GET", path)["status"] == "waiting"
    assert world.ask("POST", f"{path}/actions/cancel")["status"] == "cancelled"
    assert world.ask("POST", f"{path}/actions/cancel")["status"] == "cancelled"
    assert world.ask("POST", "/replays/rply0/actions/cancel", status=404)["type"] == "resource_missing"


def test_parked_deliveries_are_worked_through(world: World) -> None:
    ids = world.park(*world.events(*["RENEWAL"] * 4))
    assert [one["id"] for one in world.ask("GET", "/parked_deliveries")["items"]] == ids[::-1]
    assert world.ask("GET", f"/parked_deliveries/{ids[0]}")["reason"] == "The receiver answered 422."
    page = world.ask("GET", "/parked_deliveries?limit=3&event_type=RENEWAL")
    following = page["next_page"].removeprefix(f"/v2/projects/{world.door.project_id}")
    assert [one["id"] for one in world.ask("GET", following)["items"]] == ids[:1]
    replay = world.ask("POST", f"/parked_deliveries/{ids[0]}/actions/retry")
    assert (replay["selection"]["delivery_ids"], replay["total"]) == ([ids[0]], 1)
    many = world.ask("POST", "/parked_deliveries/actions/retry", {"ids": ids[1:3]})
    assert [one["total"] for one in many["items"]] == [2]
    gone = world.ask("POST", f"/parked_deliveries/{ids[3]}/actions/discard", {"reason": "test data"})
    assert (gone["object"], gone["id"]) == ("parked_delivery", ids[3])
    assert world.ask("GET", f"/parked_deliveries/{ids[3]}", status=404)["type"] == "resource_missing"
    none = world.ask("POST", "/parked_deliveries/actions/discard", {"ids": ids, "reason": "x"}, status=404)
    assert ids[3] in none["message"]
    assert len(world.ask("GET", "/parked_deliveries")["items"]) == 3
    assert (
        world.ask("POST", "/parked_deliveries/actions/discard", {"ids": ids[:1], "reason": " "}, status=400)["param"]
        == "reason"
    )
    world.ask("POST", "/parked_deliveries/actions/discard", {"ids": ids[:3], "reason": "enough"})
    assert world.ask("GET", "/parked_deliveries")["items"] == []


def test_another_projects_key_reaches_nothing(world: World) -> None:
    (delivery_id,) = world.park(*world.events("RENEWAL"))
    made = world.ask("POST", "/replays", {"integration_id": world.lane, "what": "failed"}, status=201)
    mine = world.door.project_id
    theirs: dict[str, Any] = {"project": world.door.other_project_id, "key": world.door.other_secret_key}
    assert world.ask("GET", "/replays", status=403, key=world.door.other_secret_key)["type"] == "authorization_error"
    assert world.ask("GET", "/replays", **theirs)["items"] == []
    assert world.ask("GET", f"/replays?starting_after={made['id']}", **theirs)["items"] == []
    assert world.ask("GET", "/parked_deliveries", **theirs)["items"] == []
    for method, path, body in (
        ("GET", f"/replays/{made['id']}", None),
        ("POST", f"/replays/{made['id']}/actions/cancel", None),
        ("POST", "/replays", {"integration_id": world.lane, "what": "history"}),
        ("POST", "/replays/preview", {"integration_id": world.lane, "what": "history"}),
        ("GET", f"/parked_deliveries/{delivery_id}", None),
        ("POST", f"/parked_deliveries/{delivery_id}/actions/retry", None),
        ("POST", f"/parked_deliveries/{delivery_id}/actions/discard", {"reason": "x"}),
        ("POST", "/parked_deliveries/actions/retry", {"ids": [delivery_id]}),
        ("POST", "/parked_deliveries/actions/discard", {"ids": [delivery_id], "reason": "x"}),
    ):
        assert world.ask(method, path, body, status=404, **theirs)["type"] == "resource_missing", path
    assert world.ask("GET", f"/replays/{made['id']}", project=mine)["status"] == "waiting"
    assert len(world.ask("GET", "/parked_deliveries")["items"]) == 1


def test_who_may_ask(world: World) -> None:
    assert world.ask("GET", "/replays", status=401, key="sk_wrong")["type"] == "authentication_error"
    assert world.ask("GET", "/replays", status=401, key=None)["type"] == "authentication_error"
    assert world.ask("GET", "/replays", status=401, key=world.door.revoked_key)["type"] == "authentication_error"
    assert world.ask("GET", "/replays", status=403, key=world.door.apple_key)["type"] == "authorization_error"
    assert world.ask("GET", "/replays", status=403, project="proj0")["type"] == "authorization_error"
    bare = world.door.ask("GET", f"/v2/projects/{world.door.project_id}/replays", authorization=world.door.secret_key)
    assert bare.status == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"what": "history", "integration_id": 7}, "integration_id"),
        ({"what": "everything"}, "what"),
        ({"what": "history", "evnet_types": ["RENEWAL"]}, None),
        ({"what": "history", "event_types": []}, "event_types"),
        ({"what": "history", "event_types": ["RENEWED"]}, "event_types[0]"),
        ({"what": "history", "since": -1}, "since"),
        ({"what": "history", "until": 2**60}, "until"),
        ({"what": "history", "customer_id": "a\x00b"}, "customer_id"),
        (b"{", None),
    ],
)
def test_what_is_not_understood_is_refused(world: World, body: Any, param: str | None) -> None:
    if isinstance(body, dict) and body:
        body = {"integration_id": world.lane} | body
    refused = world.ask("POST", "/replays", body, status=400)
    assert (refused["object"], refused["type"], refused["param"]) == ("error", "parameter_error", param)
    assert world.ask("GET", "/replays")["items"] == []


def test_odd_paths_and_content_types(world: World) -> None:
    assert world.ask("GET", "/parked_deliveries/%00", status=404)["type"] == "resource_missing"
    assert world.ask("GET", "/parked_deliveries/99999999999999999999", status=404)["type"] == "resource_missing"
    assert world.ask("GET", "/parked_deliveries?starting_after=x", status=400)["param"] == "starting_after"
    assert world.ask("GET", "/replays?integration_id=%00", status=400)["param"] == "integration_id"
    assert world.ask("GET", "/nothing", status=404)["object"] == "error"
    assert world.ask("DELETE", "/replays", status=405)["type"] == "invalid_request"
    plain = {"Content-Type": "text/plain"}
    assert world.ask("POST", "/replays", b"{}", status=400, headers=plain)["type"] == "invalid_request"


def test_an_integration_that_is_off_takes_none(world: World) -> None:
    with world.engine.begin() as connection:
        update_integration(connection, world.sealer, world.door.project_id, world.lane, enabled=False)
    body = json.dumps({"integration_id": world.lane, "what": "failed"}).encode()
    path = f"/v2/projects/{world.door.project_id}/replays"
    for _ in range(500):  # the hub looks four times a second whether the configuration changed
        answered = world.door.ask("POST", path, key=world.door.secret_key, body=body, more=JSON)
        if answered.status == 422:
            break
        time.sleep(0.02)
    assert json.loads(answered.body)["type"] == "unprocessable_entity_error"
