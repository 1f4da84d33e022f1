"""Who gets in, who does not, and what the cookie is like."""

from pathlib import Path
from urllib.parse import urlencode

import pytest

from bellwire.web.dashboard.limits import PER_ACCOUNT, FailedLogins
from bellwire.web.dashboard.login import local_path
from tests.support.threaded import Answered, ask
from tests.web.dashboard.conftest import FORM, Person, csrf_of
from tests.web.dashboard.hub import EMAIL, PASSWORD, Hub, serving_hub


def try_to_log_in(port: int, *, email: str = EMAIL, password: str = PASSWORD, csrf: str = "", **more: str) -> Answered:
    form = ask(port, "GET", "/login")
    fields = {"email": email, "password": password, "csrf": csrf or csrf_of(form), **more}
    cookie = form.headers["set-cookie"].split(";")[0]
    return ask(port, "POST", "/login", body=urlencode(fields).encode(), headers={**FORM, "cookie": cookie})


def test_pages_without_a_session_lead_to_the_login_and_back(hub: Hub) -> None:
    answer = ask(hub.port, "GET", "/projects/x/feed?status=failed")
    assert (answer.status, answer.headers["location"]) == (303, "/login?next=/projects/x/feed%3Fstatus%3Dfailed")
    assert ask(hub.port, "GET", "/projects/x/feed/stream").status == 401
    assert ask(hub.port, "POST", "/projects/x/notices/dismiss", body=b"", headers=FORM).headers["location"] == "/login"
    partial = ask(hub.port, "GET", "/projects/x/feed/older?before=3", headers={"hx-request": "true"})
    assert (partial.status, partial.headers["hx-redirect"]) == (401, "/login")


def test_the_right_password_gives_a_cookie_that_scripts_cannot_read(hub: Hub) -> None:
    answer = try_to_log_in(hub.port, next="/projects/x/feed")
    assert (answer.status, answer.headers["location"]) == (303, "/projects/x/feed")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("bellwire_session=")
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie


def test_the_cookie_is_bound_to_the_host_where_people_come_over_tls(tmp_path: Path) -> None:
    with serving_hub(tmp_path, public_url="https://hub.example.com") as hub:
        cookie = try_to_log_in(hub.port).headers["set-cookie"].lower()
    assert cookie.startswith("__host-bellwire_session=")
    assert "secure" in cookie


def test_wrong_password_and_unknown_address_are_answered_alike(hub: Hub) -> None:
    wrong = try_to_log_in(hub.port, password="not the password")
    unknown = try_to_log_in(hub.port, email="eve@example.com")
    assert wrong.status == unknown.status == 401
    assert b"E-mail address or password is wrong." in wrong.body
    assert b"E-mail address or password is wrong." in unknown.body
    assert b"not the password" not in wrong.body


def test_a_form_of_another_site_is_refused(hub: Hub) -> None:
    answer = try_to_log_in(hub.port, csrf="forged")
    assert answer.status == 403
    assert "set-cookie" not in answer.headers or "session" not in answer.headers["set-cookie"]


def test_guessing_is_slowed_down_even_with_the_right_password(tmp_path: Path) -> None:
    with serving_hub(tmp_path) as hub:
        for _ in range(PER_ACCOUNT):
            assert try_to_log_in(hub.port, password="guess guess guess").status == 401
        answer = try_to_log_in(hub.port)
        assert answer.status == 429
        assert 0 < int(answer.headers["retry-after"]) <= 900
        assert try_to_log_in(hub.port, email="other@example.com").status == 401


def test_a_success_forgets_the_slips() -> None:
    failures = FailedLogins()
    for _ in range(PER_ACCOUNT - 1):
        failures.tried("1.2.3.4", EMAIL)
    failures.tried("1.2.3.4", EMAIL)
    assert failures.retry_after_s("1.2.3.4", EMAIL) > 0
    assert failures.retry_after_s("5.6.7.8", EMAIL) == 0
    failures.succeeded("1.2.3.4", EMAIL)
    assert failures.retry_after_s("1.2.3.4", EMAIL) == 0


def test_logging_out_ends_the_session(hub: Hub, person: Person) -> None:
    assert person.get("/").status == 200
    assert person.post("/logout").status == 403
    answer = person.post("/logout", {"csrf": person.csrf})
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert ask(hub.port, "GET", "/", headers={"cookie": person.cookie}).headers["location"] == "/login"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("/projects/a/feed?status=sent", "/projects/a/feed?status=sent"),
        ("", "/"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\r\nset-cookie: x=1", "/"),
    ],
)
def test_after_login_only_paths_of_this_host_are_gone_to(given: str, taken: str) -> None:
    assert local_path(given) == taken


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"\xff=\xff", FORM["content-type"]), (b"a" * 20_000, FORM["content-type"]), (b"{}", "application/json")],
)
def test_bodies_that_are_no_form_are_refused(hub: Hub, body: bytes, kind: str) -> None:
    answer = ask(hub.port, "POST", "/login", body=body, headers={"content-type": kind})
    assert answer.status in (400, 403)
