"""Logins: fixation, cookies, CSRF on everything that changes something, guessing past the limit."""

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from bellwire.web.dashboard.limits import PER_ACCOUNT, PER_CLIENT, FailedLogins
from bellwire.web.dashboard.routes import ACTIONS
from tests.security.person import EMAIL, PASSWORD, doors, make_user, person, stranger
from tests.support.world import World, live


def test_session_fixation(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await make_user(it)
        async with stranger(it.url) as somebody:
            form = await somebody.get("/login")
            own = form.cookies[0].split(";")[0]
            fields = {"email": EMAIL, "password": PASSWORD, "csrf": own.partition("=")[2]}
            planted = "bellwire_session=planted"
            answer = await somebody.ask("POST", "/login", form=fields, cookie=f"{own}; {planted}")
            issued = next(one for one in answer.cookies if one.startswith("bellwire_session="))
            assert not issued.startswith(planted)
            assert (await somebody.get("/", cookie=planted)).headers["location"] == "/login"
            assert (await somebody.get("/", cookie=own.replace("login", "session"))).headers["location"] == "/login"

    live(tmp_path, scene)


def test_stolen_cookie_after_logging_out(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        async with person(it) as ada:
            assert (await ada.ask("POST", "/logout", form={"csrf": ada.csrf})).status == 303
            assert (await ada.get("/")).headers["location"] == "/login"

    live(tmp_path, scene)


@pytest.mark.parametrize("public_url", ["", "https://hub.example.com"])
def test_cookie_flags(tmp_path: Path, public_url: str) -> None:
    async def scene(it: World) -> None:
        await make_user(it)
        async with stranger(it.url) as somebody:
            form = await somebody.get("/login")
            answer = await somebody.log_in()
            for cookie in (*form.cookies, *answer.cookies):
                flags = {part.strip().lower() for part in cookie.split(";")[1:]}
                assert "path=/" in flags
                assert not any(flag.startswith("domain") for flag in flags)
                if public_url:
                    assert cookie.startswith("__Host-")
                    assert "secure" in flags
                if "max-age=0" not in flags:
                    assert "httponly" in flags
                    assert flags & {"samesite=lax", "samesite=strict"}

    live(tmp_path, scene, public_url=public_url)


def test_csrf_on_every_post(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        it.apple.purchase("pro_monthly")
        await it.settle()
        event_id = it.events()[0]["id"]
        hook = it.hub.config.current().integrations_of(it.project_id)[0]
        known = {"project_id": it.project_id, "integration_id": hook.id, "event_id": event_id, "replay_id": "rply0"}
        paths = ["/logout", *(pattern.format(**known) for pattern in ACTIONS)]
        posts = {one.path for one in it.hub.web.routes if isinstance(one, Route) and "POST" in (one.methods or ())}
        assert posts == {"/login", "/logout", *ACTIONS}
        before = len(it.attempts())
        async with person(it) as ada:
            other = "x" * len(ada.csrf)
            for path in paths:
                tries: list[tuple[dict[str, str], dict[str, str]]] = [
                    ({}, {}),
                    ({"csrf": ""}, {}),
                    ({"csrf": other}, {}),
                    ({"csrf": ada.csrf[:-1]}, {}),
                    ({"csrf": "é" * 8}, {}),
                    ({}, {"x_csrf_token": other}),
                    ({"csrf": ada.csrf}, {"x_csrf_token": other}),
                ]
                for form, headers in tries:
                    answer = await ada.ask("POST", path, form=form, **headers)
                    assert answer.status == 403, (path, form)
                plain = await ada.ask("POST", path, content_type="text/plain")
                assert plain.status in (400, 403)
            assert (await ada.get("/")).headers["location"] != "/login"
        assert len(it.attempts()) == before

    live(tmp_path, scene)


def test_csrf_token_of_another_session(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await make_user(it, "eve@example.com", "eve knows her own")
        async with person(it) as ada, stranger(it.url) as eve:
            await eve.log_in("eve@example.com", "eve knows her own")
            assert eve.csrf
            assert (await ada.ask("POST", "/logout", form={"csrf": eve.csrf})).status == 403

    live(tmp_path, scene)


def test_forwarded_addresses_do_not_get_around_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client behind nobody's proxy names another address for each guess."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn would believe this

    async def scene(it: World) -> None:
        await make_user(it)
        async with doors(it, trusted_proxies="192.0.2.1") as url, stranger(url) as somebody:
            for attempt in range(PER_ACCOUNT):
                named = {"x_forwarded_for": f"203.0.113.{attempt}", "forwarded": f"for=203.0.113.{attempt}"}
                assert (await somebody.log_in(password="wrong wrong", **named)).status == 401
            named = {"x_forwarded_for": "203.0.113.99", "x_real_ip": "203.0.113.99", "forwarded": "for=203.0.113.99"}
            assert (await somebody.log_in(**named)).status == 429

    live(tmp_path, scene)


def test_a_proxy_that_is_trusted_is_believed_as_to_the_last_hop_only(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await make_user(it)
        async with doors(it, trusted_proxies="127.0.0.1") as url, stranger(url) as somebody:
            for attempt in range(PER_ACCOUNT):
                named = f"198.51.100.{attempt}, 203.0.113.7"
                assert (await somebody.log_in(password="wrong wrong", x_forwarded_for=named)).status == 401
            assert (await somebody.log_in(x_forwarded_for="10.1.1.1, 203.0.113.7")).status == 429
            assert (await somebody.log_in(x_forwarded_for="203.0.113.8")).status == 303

    live(tmp_path, scene)


def test_a_household_of_ipv6_addresses_counts_as_one() -> None:
    failed = FailedLogins()
    for number in range(PER_ACCOUNT):
        failed.tried(f"2001:db8:1:2::{number:x}", "ada@example.com")
    assert failed.retry_after_s("2001:db8:1:2:ffff::1", "ada@example.com") > 0
    assert failed.retry_after_s("2001:db8:1:3::1", "ada@example.com") == 0
    assert failed.retry_after_s("2001:db8:1:2::1%eth0", "ada@example.com") > 0


def test_spelling_an_address_otherwise_is_no_new_client() -> None:
    failed = FailedLogins()
    for number in range(PER_CLIENT):
        failed.tried("192.0.2.1", f"user{number}@example.com")
    assert failed.retry_after_s("::ffff:192.0.2.1", "new@example.com") > 0


def test_endless_account_names_are_not_kept() -> None:
    failed = FailedLogins()
    failed.tried("192.0.2.1", "a" * 1_000_000)
    assert max(len(account) for _, account in failed._failures) < 1000


def test_unknown_account_and_wrong_password_look_alike(tmp_path: Path) -> None:
    async def scene(it: World) -> None:
        await make_user(it)
        async with stranger(it.url) as somebody:
            known = await somebody.log_in(password="wrong wrong")
            unknown = await somebody.log_in(email="bob@example.com", password="wrong wrong")
            assert known.status == unknown.status == 401
            plain = [re.sub(r'name="(csrf|email)" value="[^"]*"', "", one.text) for one in (known, unknown)]
            assert plain[0] == plain[1]

    live(tmp_path, scene)


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "/%0d%0aset-cookie:x=1", "/a b"]
)
def test_open_redirect_after_login(tmp_path: Path, target: str) -> None:
    async def scene(it: World) -> None:
        await make_user(it)
        async with stranger(it.url) as somebody:
            form = await somebody.get("/login")
            own = form.cookies[0].split(";")[0]
            fields = {"email": EMAIL, "password": PASSWORD, "csrf": own.partition("=")[2], "next": target}
            answer = await somebody.ask("POST", "/login", form=fields, cookie=own)
            assert answer.status == 303
            assert answer.headers["location"].startswith("/")
            assert not answer.headers["location"].startswith(("//", "/\\"))
            assert "x=1" not in answer.headers.get("set-cookie", "")

    live(tmp_path, scene)
