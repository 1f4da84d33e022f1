"""Webhooks set up from the command line, and a real test event sent to a real receiver."""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import cast

import msgspec
import pytest

from bellwire.destinations.settings import MASK
from tests.cli.conftest import Bellwire, answer


class Receiver(HTTPServer):
    """Answers every POST with one status and body, and keeps what came."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.body = body
        self.requests: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver = cast(Receiver, self.server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(receiver.status)
        self.send_header("Content-Length", str(len(receiver.body)))
        self.end_headers()
        self.wfile.write(receiver.body)

    # typing.override needs Python 3.12.
    # pyrefly: ignore[missing-override-decorator]
    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def receiving(status: int = 200, body: bytes = b"thanks") -> Iterator[Receiver]:
    with Receiver(status, body) as receiver:
        thread = Thread(target=receiver.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def project_id(bellwire: Bellwire, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BELLWIRE_ALLOW_PRIVATE_ADDRESSES", "true")
    return str(answer(bellwire("project", "create", "Mine", "--json"))["id"])


def create(bellwire: Bellwire, *arguments: str, url: str = "https://tool.example/hook") -> dict[str, object]:
    return answer(bellwire("integration", "create", "webhook", "Mine", "--url", url, *arguments, "--json"))


def test_signing_secret_is_shown_once(bellwire: Bellwire, tmp_path: Path) -> None:
    (tmp_path / "header").write_text("Bearer t0ken\n")
    options = ("--url", "https://tool.example/hook", "--signing", "--standard-webhooks", "--authorization", "@header")
    made = bellwire("integration", "create", "webhook", "Mine", *options)
    [secret] = [line for line in made.stdout.splitlines() if line.startswith("whsec_")]
    assert "t0ken" not in made.output
    listed = bellwire("integration", "list", "--json")
    [one] = msgspec.convert(answer(listed)["integrations"], list[dict[str, object]])
    settings = msgspec.convert(one["settings"], dict[str, object])
    assert settings["url"] == "https://tool.example/hook"
    assert settings["signing_secret"] == settings["authorization"] == MASK
    for shown in (listed, bellwire("integration", "list")):
        assert secret not in shown.output
        assert "t0ken" not in shown.output


def test_filters(bellwire: Bellwire) -> None:
    app_id = str(answer(bellwire("app", "create", "app-store", "A", "--bundle-id", "a", "--json"))["id"])
    made = create(
        bellwire,
        *("--event", "renewal", "--event", "CANCELLATION", "--environment", "PRODUCTION", "--app", app_id),
        *("--accept-any-2xx", "--retry-schedule", "compatible"),
    )
    assert made["event_types"] == ["RENEWAL", "CANCELLATION"]
    assert (made["environment"], made["app_id"], made["signing_secret"]) == ("PRODUCTION", app_id, None)
    assert "RENEWAL, CANCELLATION; PRODUCTION; app" in bellwire("integration", "list").stdout
    everything = create(bellwire)
    assert everything["event_types"] is None
    assert "all types" in bellwire("integration", "list").stdout


def test_unusable_settings_are_refused(bellwire: Bellwire) -> None:
    for arguments, status, reason in (
        ((), 2, "--url"),
        (("--url", "ftp://x"), 2, "--url: this is not what is wanted here: Where events are posted"),
        (("--url", "https://x", "--authorization", "a\nb"), 2, "--authorization: this is not what is wanted here"),
        (("--url", "https://user:pass@x"), 2, "use a header instead"),
        (("--url", "https://x:99999"), 2, "can not be read"),
        (("--url", "https://x", "--standard-webhooks"), 2, "need a signing secret"),
        (("--url", "https://x", "--event", "RENEWEL"), 2, "no type of event; there are: TEST, INITIAL_PURCHASE"),
        (("--url", "https://x", "--app", "appnone"), 1, "no app appnone"),
        (("--url", "https://x", "--authorization", "@missing"), 2, "No such file"),
    ):
        refused = bellwire("integration", "create", "webhook", "Mine", *arguments, status=status)
        assert reason in refused.stderr
    assert bellwire("integration", "list").stdout == "No integrations yet.\n"


def test_plain_http_needs_the_operators_word(bellwire: Bellwire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BELLWIRE_ALLOW_PRIVATE_ADDRESSES")
    refused = bellwire("integration", "create", "webhook", "Mine", "--url", "http://tool.example/hook", status=2)
    assert "must begin with https://" in refused.stderr
    assert "BELLWIRE_ALLOW_PRIVATE_ADDRESSES" in refused.stderr
    assert bellwire("integration", "list").stdout == "No integrations yet.\n"


def test_delete(bellwire: Bellwire) -> None:
    integration_id = str(create(bellwire)["id"])
    assert "Deleted" in bellwire("integration", "delete", integration_id).stdout
    assert bellwire("integration", "list").stdout == "No integrations yet.\n"
    assert "integration list" in bellwire("integration", "delete", integration_id, status=1).stderr
    assert "integration list" in bellwire("integration", "test", integration_id, status=2).stderr


def test_test_event_arrives_signed(bellwire: Bellwire) -> None:
    with receiving() as receiver:
        made = create(bellwire, "--signing", "--authorization", "Bearer t0ken", "--event", "RENEWAL", url=receiver.url)
        sent = bellwire("integration", "test", str(made["id"]))
        assert "delivered, status 200" in sent.stdout
        assert "thanks" in sent.stdout
        [(headers, body)] = receiver.requests
    event = msgspec.json.decode(body)["event"]
    assert event["type"] == "TEST"
    assert event["id"] in sent.stdout
    assert headers["authorization"] == "Bearer t0ken"
    t, v1 = (part.split("=", 1)[1] for part in headers["x-revenuecat-webhook-signature"].split(","))
    secret = str(made["signing_secret"]).encode()
    assert v1 == hmac.new(secret, t.encode() + b"." + body, "sha256").hexdigest()


def test_refused_test_event_is_a_failure(bellwire: Bellwire) -> None:
    with receiving(503, b"come back later") as receiver:
        integration_id = str(create(bellwire, url=receiver.url)["id"])
        refused = bellwire("integration", "test", integration_id, "--json", status=1)
        assert len(receiver.requests) == 1
    result = answer(refused)
    assert (result["outcome"], result["status_code"], result["response_body"]) == ("retry", 503, "come back later")
    unreachable = bellwire("integration", "test", integration_id, status=1)
    assert "no answer (connect)" in unreachable.stdout
