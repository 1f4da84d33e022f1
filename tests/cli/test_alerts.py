"""`bellwire alert`: channels made, listed masked, tested against a real receiver, removed."""

from typing import cast

import msgspec
import pytest

from tests.cli.conftest import Bellwire, answer
from tests.cli.test_integrations import receiving


@pytest.fixture
def local(bellwire: Bellwire, monkeypatch: pytest.MonkeyPatch) -> Bellwire:
    monkeypatch.setenv("BELLWIRE_ALLOW_PRIVATE_ADDRESSES", "true")
    bellwire("project", "create", "Ours")
    return bellwire


def test_a_webhook_channel_from_its_making_to_its_end(local: Bellwire) -> None:
    with receiving(204, b"") as receiver:
        made = answer(local("alert", "add", "webhook", "--url", receiver.url, "--signing", "--json"))
        assert str(made["signing_secret"]).startswith("whsec_")
        listed = answer(local("alert", "list", "--json"))
        (channel,) = cast(list[dict[str, dict[str, object]]], listed["channels"])
        assert channel["settings"]["url"] == receiver.url
        assert channel["settings"]["signing_secret"] == "••••••••"
        local("alert", "test", str(made["id"]))
        ((headers, body),) = receiver.requests
        assert "x-revenuecat-webhook-signature" in headers
        assert msgspec.json.decode(body)["state"] == "test"
        local("alert", "remove", str(made["id"]))
        local("alert", "remove", str(made["id"]), status=1)
        assert "nobody is told" in local("alert", "list").output


def test_a_receiver_that_refuses_ends_a_test_with_status_1(local: Bellwire) -> None:
    with receiving(404, b"no_service") as receiver:
        made = answer(local("alert", "add", "slack", "--url", receiver.url, "--json"))
        result = local("alert", "test", str(made["id"]), status=1)
        assert "Not sent: answered 404" in result.output
        assert receiver.url not in local("alert", "list").output


def test_mail_channels_are_checked_when_they_are_made(local: Bellwire) -> None:
    mail = ("alert", "add", "email", "--to", "a@example.com", "--to", "b@example.com", "--sender", "hub@example.org")
    made = answer(local(*mail, "--smtp-host", "mail.example", "--username", "u", "--password", "s3cr3tp4ss", "--json"))
    assert made["kind"] == "email"
    result = local("alert", "list")
    assert "a@example.com, b@example.com by mail.example" in result.output
    assert "s3cr3tp4ss" not in local("alert", "list", "--json").output
    local(*mail, "--smtp-host", "mail.example", "--username", "u", status=2)
    local("alert", "add", "email", "--to", "nobody", "--sender", "x@y.z", "--smtp-host", "m", status=2)
    local("alert", "test", "altc0", status=2)


def test_plain_http_is_refused_where_private_addresses_are(bellwire: Bellwire) -> None:
    bellwire("project", "create", "Ours")
    result = bellwire("alert", "add", "slack", "--url", "http://hooks.example/x", status=2)
    assert "BELLWIRE_ALLOW_PRIVATE_ADDRESSES" in result.output
