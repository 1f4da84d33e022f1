"""Mail alerts over a real SMTP server: TLS, login, what is refused, and where no connection is made at all."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from bellwire.db.alerts import AlertMessage, AlertState
from bellwire.delivery.alerts.channels import EmailSettings, mail, told
from bellwire.delivery.alerts.mail import send_mail
from tests.support.certificates import loopback_contexts
from tests.support.deliveries import play
from tests.support.mail_server import MailServer, mail_server

MESSAGE = AlertMessage(
    state=AlertState.RAISED,
    project_id="proj1",
    kind="paused",
    subject="intg1",
    name="Analytics\r\nBcc: everybody@example.com",
    message="paused: nothing but failures for 5 days",
    at_ms=1_700_000_000_000,
)
LETTER_ID = 77


def settings(server: MailServer, **changes: object) -> EmailSettings:
    chosen = EmailSettings(
        to=("team@example.com", "boss@example.com"),
        sender="hub@example.org",
        smtp_host="127.0.0.1",
        smtp_port=server.port,
        security="none",
    )
    return replace(chosen, **changes)


async def send(chosen: EmailSettings, *, allow_private: bool = True) -> str | None:
    words = told(MESSAGE, project_name="Ours", public_url="https://hub.example")
    letter = mail(chosen, words, LETTER_ID, at_ms=MESSAGE.at_ms)
    return await send_mail(chosen, letter, allow_private=allow_private)


def test_a_mail_says_what_is_wrong_and_where_to_look() -> None:
    async def scene() -> None:
        async with mail_server() as server:
            assert await send(settings(server)) is None
            (letter,) = server.letters
            assert server.recipients == [["team@example.com", "boss@example.com"]]
            assert (
                letter["Subject"].strip() == "Bellwire: Analytics  Bcc: everybody@example.com is paused (project Ours)"
            )
            assert (letter["From"], letter["Bcc"]) == ("hub@example.org", None)
            assert letter["Message-ID"] == "<alert-77@example.org>"
            assert letter["Auto-Submitted"] == "auto-generated"
            body = str(letter.get_payload())
            assert "paused: nothing but failures for 5 days." in body
            assert "https://hub.example/projects/proj1/integrations/intg1" in body

    play(scene)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_login_goes_over_tls(tmp_path: Path, security: str) -> None:
    async def scene() -> None:
        server_side, client_side = loopback_contexts(tmp_path)
        async with mail_server(**{security: server_side}) as server:
            chosen = settings(server, security=security, username="hub", password="right horse")
            letter = mail(chosen, told(MESSAGE, project_name="Ours", public_url="x"), 1, at_ms=0)
            assert await send_mail(chosen, letter, allow_private=True, tls=client_side) is None
            assert server.logins == [("hub", "right horse")]
            assert server.over_tls == [True]

    play(scene)


def test_a_certificate_that_nobody_vouches_for_ends_before_the_login(tmp_path: Path) -> None:
    async def scene() -> None:
        server_side, _ = loopback_contexts(tmp_path)
        async with mail_server(starttls=server_side) as server:
            chosen = settings(server, security="starttls", username="hub", password="right horse")
            letter = mail(chosen, told(MESSAGE, project_name="Ours", public_url="x"), 1, at_ms=0)
            failure = await send_mail(chosen, letter, allow_private=True)
            assert failure is not None
            assert "certificate" in failure.lower()
            assert (server.logins, server.letters) == ([], [])

    play(scene)


def test_a_server_without_starttls_gets_no_password() -> None:
    async def scene() -> None:
        async with mail_server() as server:
            failure = await send(settings(server, security="starttls", username="hub", password="x"))
            assert failure is not None
            assert (server.logins, server.letters) == ([], [])

    play(scene)


def test_a_refused_login_does_not_show_the_password(tmp_path: Path) -> None:
    async def scene() -> None:
        server_side, client_side = loopback_contexts(tmp_path)
        async with mail_server(tls=server_side) as server:
            chosen = settings(server, security="tls", username="hub", password="wr0ngh0rse")
            letter = mail(chosen, told(MESSAGE, project_name="Ours", public_url="x"), 1, at_ms=0)
            failure = await send_mail(chosen, letter, allow_private=True, tls=client_side)
            assert failure is not None
            assert failure.startswith("127.0.0.1: ")
            assert "wr0ngh0rse" not in failure
            assert server.letters == []

    play(scene)


def test_a_server_that_refuses_the_mail_says_why() -> None:
    async def scene() -> None:
        async with mail_server() as server:
            server.refuse = "554 no such thing here"
            failure = await send(settings(server))
            assert failure is not None
            assert "554" in failure
            assert "no such thing here" in failure

    play(scene)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "::ffff:127.0.0.1"])
def test_no_connection_is_made_to_a_private_address(host: str) -> None:
    async def scene() -> None:
        async with mail_server() as server:
            failure = await send(settings(server, smtp_host=host), allow_private=False)
            assert failure is not None
            assert "refused address" in failure
            assert server.connections == 0

    play(scene)


def test_nobody_there_is_said_in_words() -> None:
    async def scene() -> None:
        async with mail_server() as server:
            chosen = settings(server)
        failure = await send(chosen)
        assert failure is not None
        assert failure.startswith("127.0.0.1: ")

    play(scene)


def test_a_password_is_not_sent_in_the_clear() -> None:
    values = {"to": ["a@b.c"], "sender": "x@y.z", "smtp_host": "m", "username": "u", "password": "p"}
    msgspec.convert(values, EmailSettings)
    with pytest.raises(msgspec.ValidationError, match="without TLS"):
        msgspec.convert(values | {"security": "none"}, EmailSettings)
    with pytest.raises(msgspec.ValidationError, match="both a user and a password"):
        msgspec.convert(values | {"password": ""}, EmailSettings)


@pytest.mark.parametrize("address", ["no at", "a@b\r\nBcc: c@d", "a@b, c@d", "a@b>", ""])
def test_an_address_is_one_address(address: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"to": [address], "sender": "x@y.z", "smtp_host": "m"}, EmailSettings)


def test_cancelling_a_mail_closes_its_connection() -> None:
    async def scene() -> None:
        reached, closed = asyncio.Event(), asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.test\r\n")
            await reader.readline()
            reached.set()
            await reader.read()
            closed.set()
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        kept = MailServer(port=server.sockets[0].getsockname()[1])
        task = asyncio.create_task(send(settings(kept)))
        await reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await closed.wait()
        server.close()
        await server.wait_closed()

    play(scene)
