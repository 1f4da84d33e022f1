"""Handing a mail to an SMTP server: address checked before the connection, TLS verified, one deadline over all."""

import asyncio
import ssl
from email.message import EmailMessage

import aiosmtplib

from bellwire.delivery.alerts.channels import EmailSettings
from bellwire.kit.tcp import connect_checked

TIMEOUT_S = 30.0
_CHARACTERS = 300


async def send_mail(
    settings: EmailSettings, letter: EmailMessage, *, allow_private: bool, tls: ssl.SSLContext | None = None
) -> str | None:
    """None when the server took the mail for every address, else why not, in words fit to be shown.

    `tls` trusts other certificates than the system's; for tests.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _send(settings, letter, allow_private, tls or ssl.create_default_context())
    except TimeoutError:
        return f"{settings.smtp_host} did not take the mail within {TIMEOUT_S:g} s"
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return _in_words(settings, error)


async def _send(settings: EmailSettings, letter: EmailMessage, allow_private: bool, tls: ssl.SSLContext) -> str | None:
    opened = await connect_checked(settings.smtp_host, settings.port, allow_private=allow_private, timeout_s=TIMEOUT_S)
    client = aiosmtplib.SMTP(
        hostname=settings.smtp_host,  # what the certificate must name; the connection is there already
        sock=opened,
        timeout=TIMEOUT_S,
        use_tls=settings.security == "tls",
        start_tls=settings.security == "starttls",
        tls_context=tls,
        local_hostname=settings.sender.rpartition("@")[2],
    )
    try:
        await client.connect()
        if settings.username:
            await client.login(settings.username, settings.password)
        refused, _ = await client.send_message(letter)
        await client.quit()
    except BaseException:
        if isinstance(client.transport, asyncio.WriteTransport):
            client.transport.abort()  # a TLS farewell would outlive us
        raise
    finally:
        client.close()
        opened.close()
    return f"{settings.smtp_host} refused {', '.join(sorted(refused))}" if refused else None


def _in_words(settings: EmailSettings, error: Exception) -> str:
    """What the server said, without anything of the login in it."""
    said = str(error) or type(error).__name__
    for secret in (settings.password, settings.username):
        if secret:
            said = said.replace(secret, "•••")
    return f"{settings.smtp_host}: {' '.join(said.split())}"[:_CHARACTERS]
