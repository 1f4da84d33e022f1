"""Somebody with a browser at a world's dashboard."""

import contextlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from msgspec.structs import replace
from yarl import URL

from bellwire.db.users import create_user, hash_password
from bellwire.serve import server_config
from tests.support.world import World, served

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"


@dataclass(frozen=True)
class Seen:
    """An answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookies: tuple[str, ...] = ()


class Person:
    """Sends paths as they are and follows nothing; cookies only those of `cookie`."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self._base = base
        self._session = session
        self.cookie = ""
        self.csrf = ""

    async def ask(self, method: str, path: str, *, form: Mapping[str, str] | None = None, **named: str) -> Seen:
        headers = {name.replace("_", "-"): value for name, value in named.items()}
        if self.cookie:
            headers.setdefault("cookie", self.cookie)
        async with self._session.request(
            method, URL(self._base + path, encoded=True), data=form, headers=headers, allow_redirects=False
        ) as answer:
            return Seen(
                answer.status,
                {name.lower(): value for name, value in answer.headers.items()},
                (await answer.read()).decode(errors="replace"),
                tuple(answer.headers.getall("set-cookie", [])),
            )

    async def get(self, path: str, **named: str) -> Seen:
        return await self.ask("GET", path, form=None, **named)

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD, **named: str) -> Seen:
        form = await self.get("/login")
        cookie = form.cookies[0].split(";")[0]
        token = cookie.partition("=")[2]
        fields = {"email": email, "password": password, "csrf": token}
        answer = await self.ask("POST", "/login", form=fields, **({"cookie": cookie} | named))
        for one in answer.cookies:
            if "bellwire_session=" in one:
                self.cookie = one.split(";")[0]
        if self.cookie and answer.status == 303:
            found = re.search(r'name="csrf" value="([^"]+)"', (await self.get("/")).text)
            page = "" if found is None else found[1]
            self.csrf = page or await self._csrf_of_a_page()
        return answer

    async def _csrf_of_a_page(self) -> str:
        target = (await self.get("/")).headers["location"]
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.get(target)).text)
        assert found is not None
        return found[1]


async def make_user(world: World, email: str = EMAIL, password: str = PASSWORD) -> None:
    hashed = hash_password(password)
    now_ms = time.time_ns() // 1_000_000
    await world.change(lambda connection: create_user(connection, email=email, password_hash=hashed, now_ms=now_ms))


def doors(world: World, **changed: Any) -> contextlib.AbstractAsyncContextManager[str]:
    """The hub once more, served as a real process serves it; yields the URL."""
    return served(world.hub.web, server_config(world.hub.web, replace(world.hub.settings, **changed)))


@contextlib.asynccontextmanager
async def stranger(base: str) -> AsyncIterator[Person]:
    """Somebody without a login."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Person(base, session)


@contextlib.asynccontextmanager
async def person(world: World) -> AsyncIterator[Person]:
    """Somebody who is logged in."""
    await make_user(world)
    async with stranger(world.url) as somebody:
        assert (await somebody.log_in()).status == 303
        yield somebody
