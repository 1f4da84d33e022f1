"""Markup in everything that strangers or receivers may name, on every page that shows it."""

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.db import version
from bellwire.db.tables import apps, customers, integrations, projects
from tests.security.person import person
from tests.support.world import World, live

EVIL = "\"'></pre></script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}${7*7}"


async def answer(_request: Request) -> Response:
    return Response(f'{{"a": "{EVIL[2:]}"}}', 500, headers={"x-evil": EVIL, "content-type": "text/html"})


def test_names_ids_attributes_answers_and_headers_are_text(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        hook = await it.webhook("evil", url=f"{it.stores_url}/evil")
        await it.post(
            it.apple, it.apple.purchase("pro_monthly"), EVIL.replace("/", "|"), presented_offering_identifier=EVIL
        )
        await it.call("POST", f"/v1/subscribers/{_encoded()}/attributes", {"attributes": {"note": {"value": EVIL}}})
        with it.hub.engine.begin() as connection:
            for table in (apps, integrations, projects):
                connection.execute(sa.update(table).values(name=EVIL))
            version.bump(connection)
        await it.settle()
        await it.push(it.apple.notification_url, f'{{"signedPayload": "{EVIL[2:]}"}}'.encode())
        with it.hub.read_engine.connect() as connection:
            customer_id = connection.execute(sa.select(customers.c.id)).scalars().first()
        event_id = it.attempts(hook)[0]["event_id"]
        base = f"/projects/{it.project_id}"
        async with person(it) as ada:
            paths = [
                f"{base}/feed",
                f"{base}/feed?customer={_encoded()}&type={_encoded()}&status={_encoded()}",
                f"{base}/feed/older?before=9999999999999999",
                f"{base}/integrations",
                f"{base}/integrations/{hook.id}",
                f"{base}/integrations/{hook.id}/deliveries/{event_id}",
                f"{base}/apps",
                f"{base}/customers/{customer_id}",
                f"{base}/events/{event_id}",
                f"{base}/events/{_encoded()}",
                f"/login?next={_encoded()}",
            ]
            shown = 0
            for path in paths:
                page = await ada.get(path)
                assert "<script>alert" not in page.text, path
                assert "<img src=x" not in page.text, path
                shown += "&lt;script&gt;" in page.text
            assert shown >= 7
            stream = await _first_rows(it, ada.cookie)
            assert "&lt;script&gt;" in stream
            assert "<script>alert" not in stream

    live(tmp_path, scene, routes=[Route("/evil", answer, methods=["POST"])])


def _encoded() -> str:
    return quote(EVIL.replace("/", "|"), safe="")


async def _first_rows(it: World, cookie: str) -> str:
    heard = b""
    url = f"{it.url}/projects/{it.project_id}/feed/stream?after=0"
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        session.get(url, headers={"cookie": cookie}) as stream,
    ):
        async for chunk in stream.content.iter_any():
            heard += chunk
            if b"event: rows" in heard and heard.endswith(b"\n\n"):
                break
    return heard.decode()


def test_no_page_brings_script_or_style_of_its_own(tmp_path: Path) -> None:
    """The policy forbids inline script: a page that needs it would be broken, one that has it careless."""

    async def scene(it: World) -> None:
        async with person(it) as ada:
            for path in ("feed", "integrations", "apps"):
                page = await ada.get(f"/projects/{it.project_id}/{path}")
                policy: Any = page.headers["content-security-policy"]
                assert "unsafe" not in policy
                assert "script-src 'self'" in policy
                assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|javascript:|\shx-on", page.text), path

    live(tmp_path, scene)
