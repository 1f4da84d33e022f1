"""Who may read the metrics, and what they say about the moment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bellwire.app import Hub
from bellwire.observe.metrics import METRICS
from bellwire.serve import server_config
from bellwire.settings import Settings
from bellwire.web.operations import build_operations
from tests.support.served import served
from tests.support.world import World, live

ROOT = Path(__file__).parent.parent.parent


@contextlib.asynccontextmanager
async def hub_at(folder: Path, *, aside: bool = False, **settings: Any) -> AsyncIterator[str]:
    hub = Hub(Settings(data_dir=folder, **settings))
    app = build_operations(hub.services) if aside else hub.web
    async with hub.running(timers=False), served(app, server_config(app, hub.settings)) as url:
        yield url


async def ask(url: str, **headers: str) -> tuple[int, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics", headers=sent) as answer:
        return answer.status, await answer.text()


def status(folder: Path, *, headers: dict[str, str] | None = None, aside: bool = False, **settings: Any) -> int:
    async def run() -> int:
        async with hub_at(folder, aside=aside, **settings) as url:
            return (await ask(url, **(headers or {})))[0]

    return asyncio.run(run())


def test_this_machine_reads_without_a_token(tmp_path: Path) -> None:
    assert status(tmp_path) == 200


def test_what_a_proxy_passes_on_is_not_this_machine(tmp_path: Path) -> None:
    for name, value in (
        ("X_Forwarded_For", "127.0.0.1"),
        ("X_Forwarded_For", "203.0.113.9"),
        ("Forwarded", "for=203.0.113.9"),
        ("X_Real_IP", "127.0.0.1"),
        ("Via", "1.1 proxy"),
    ):
        assert status(tmp_path, headers={name: value}) == 403, name


def test_published_hub_wants_a_token(tmp_path: Path) -> None:
    """A proxy that says nothing about itself looks like this machine."""
    assert status(tmp_path, public_url="https://events.example.com") == 403


def test_token(tmp_path: Path) -> None:
    for aside in (False, True):
        kept: dict[str, Any] = {"metrics_token": "s3cret", "aside": aside}
        assert status(tmp_path, **kept) == 403
        for wrong in ("Bearer", "Bearer s3cre", "Bearer s3cret2", "s3cret", "Basic s3cret", "Bearer é"):
            assert status(tmp_path, headers={"Authorization": wrong}, **kept) == 403, wrong
        assert status(tmp_path, headers={"Authorization": "Bearer s3cret"}, **kept) == 200


def test_port_of_its_own_is_for_whoever_reaches_it(tmp_path: Path) -> None:
    assert status(tmp_path, aside=True, headers={"X_Forwarded_For": "203.0.113.9"}) == 200


def test_both_formats(tmp_path: Path) -> None:
    async def run() -> None:
        async with hub_at(tmp_path) as url:
            _, plain = await ask(url)
            _, modern = await ask(url, Accept="application/openmetrics-text; version=1.0.0")
        assert "# TYPE bellwire_events_total counter" in plain
        assert "# TYPE bellwire_events counter" in modern
        assert modern.endswith("# EOF\n")

    asyncio.run(run())


async def read(it: World) -> dict[str, list[tuple[dict[str, str], float]]]:
    _, text = await ask(it.url)
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, []).append((one.labels, one.value))
    return found


def test_every_metric_is_on_the_reference_page(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text()

    async def scene(it: World) -> None:
        assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
        await it.settle()
        _, text = await ask(it.url)
        names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        ours = {name for name in names if name.startswith("bellwire_")}
        assert {name for name in ours if f"`{name}`" not in page} == set()
        assert {one.name for one in METRICS} == ours
        for name in set(names) - ours:
            assert name.startswith(("process_", "python_gc_")), name

    live(tmp_path, scene)


def test_backlog_of_an_integration(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.statuses["down"] = 503
        down = await it.webhook("down")
        assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
        await it.settle()
        names = {labels["integration"]: labels for labels, _ in (await read(it))["bellwire_integration_info"]}
        assert names[down.id] == {
            "integration": down.id,
            "destination": "webhook",
            "name": "down",
            "project": "Test",
        }
        found = await read(it)
        rows = {
            labels["state"]: value
            for labels, value in found["bellwire_outbox_rows"]
            if labels["integration"] == down.id
        }
        assert rows == {"fresh": 0, "late": 1, "leased": 0, "parked": 0}
        assert found["bellwire_inbox_open"] == [({}, 0)]
        assert found["bellwire_backlog_read"] == [({}, 1)]
        assert found["bellwire_processes"] == [({"role": "all"}, 1)]

    live(tmp_path, scene)
