"""A served dashboard and a person who is logged in to it."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.threaded import Answered, ask
from tests.web.dashboard.hub import EMAIL, PASSWORD, Hub, serving_hub

FORM = {"content-type": "application/x-www-form-urlencoded"}


class Person:
    """A browser without a screen: keeps the session cookie and the CSRF token."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.cookie = ""
        self.csrf = ""

    def log_in(self) -> None:
        form = ask(self._hub.port, "GET", "/login")
        cookie = form.headers["set-cookie"].split(";")[0]
        fields = {"email": EMAIL, "password": PASSWORD, "csrf": csrf_of(form)}
        answer = ask(
            self._hub.port, "POST", "/login", body=urlencode(fields).encode(), headers={**FORM, "cookie": cookie}
        )
        assert answer.status == 303, answer.body
        self.cookie = answer.headers["set-cookie"].split(";")[0]
        self.csrf = csrf_of(self.get("/"))

    def get(self, path: str, **headers: str) -> Answered:
        """One GET; follows one redirect."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = ask(self._hub.port, "GET", path, headers={"cookie": self.cookie, **named})
        return self.get(answer.headers["location"]) if answer.status == 303 else answer

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Answered:
        """One POST, without the CSRF token unless `fields` or headers carry it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = urlencode(fields or {}).encode()
        return ask(self._hub.port, "POST", path, body=body, headers={"cookie": self.cookie, **FORM, **named})


def csrf_of(answer: Answered) -> str:
    """The token in a page's first form."""
    found = re.search(r'name="csrf" value="([^"]+)"', answer.body.decode())
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder: Path = tmp_path_factory.mktemp("dashboard")
    with serving_hub(folder) as served:
        served.project("First project")
        yield served


@pytest.fixture
def person(hub: Hub) -> Person:
    one = Person(hub)
    one.log_in()
    return one
