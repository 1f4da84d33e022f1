"""The API under /v2: other projects, public keys, and values that no one should send."""

from pathlib import Path
from urllib.parse import quote

import pytest

from bellwire.web.rest.surface import ENDPOINTS
from tests.security.test_cross_project import Others, crossing
from tests.security.test_injection import SQL
from tests.support.world import World, live


def paths(project_id: str, one_id: str) -> list[tuple[str, str]]:
    """Every address of the API, with this id wherever one goes."""
    return [
        (method, f"/v2/projects/{project_id}{path.format(replay_id=one_id, delivery_id=one_id)}")
        for method, path, _ in ENDPOINTS
    ]


def order(integration_id: str, **more: object) -> dict[str, object]:
    return {"integration_id": integration_id, "what": "history", **more}


def test_cross_project_replays_by_keys_and_ids(tmp_path: Path) -> None:
    """A key opens its own project alone, and ids of another are not there."""

    async def scene(it: World, others: Others) -> None:
        hook = it.hub.config.current().integrations_of(it.project_id)[0]
        status, made = await it.call("POST", f"/v2/projects/{it.project_id}/replays", order(hook.id))
        assert status == 201, made
        for method, path in paths(it.project_id, made["id"]):
            assert (await it.call(method, path, order(hook.id), others.secret_key))[0] == 403, path
            assert (await it.call(method, path, order(hook.id), "guess"))[0] == 401, path
            assert (await it.call(method, path, order(hook.id), it.apple_key))[0] == 403, path
        for method, path in paths(others.project_id, made["id"]):
            status, answer = await it.call(method, path, order(hook.id), others.secret_key)
            assert status < 500, path
            assert made["id"] not in path or status in (400, 404), path
            assert made["id"] not in str(answer.get("items", "")), path
        for path in ("replays", "replays/preview"):
            status, _ = await it.call(
                "POST", f"/v2/projects/{others.project_id}/{path}", order(hook.id), others.secret_key
            )
            assert status == 404, path
        assert not it.hooks["others"]

    crossing(tmp_path, scene)


def test_sql_and_text_that_is_none_in_replays(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        base = f"/v2/projects/{it.project_id}"
        hook = it.hub.config.current().integrations_of(it.project_id)[0]
        for text in (*SQL, "\ud800", "\x00", "a\r\nX-Evil: 1"):
            encoded = quote(text.encode("utf-8", "surrogatepass"), safe="")
            for method, path in paths(it.project_id, encoded):
                status, _ = await it.call(method, path, order(text))
                assert 400 <= status < 500 or method == "GET", (path, status)
                assert status < 500, path
            for name in ("starting_after", "integration_id", "limit", "status"):
                for listed in ("replays", "parked_deliveries"):
                    assert (await it.call("GET", f"{base}/{listed}?{name}={encoded}"))[0] < 500, (name, text)
            for name in ("customer_id", "event_id", "app_id", "environment"):
                status, _ = await it.call("POST", f"{base}/replays/preview", order(hook.id, **{name: text}))
                assert status < 500, (name, text)

    live(tmp_path, scene)


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**63, 2**70, 10**300, -1])
def test_numbers_beyond_any_database(tmp_path: Path, number: int) -> None:
    async def scene(it: World) -> None:
        hook = it.hub.config.current().integrations_of(it.project_id)[0]
        for name in ("since", "until", "rate_per_second"):
            body = order(hook.id, **{name: number})
            status, _ = await it.call("POST", f"/v2/projects/{it.project_id}/replays/preview", body)
            assert status < 500, name

    live(tmp_path, scene)
