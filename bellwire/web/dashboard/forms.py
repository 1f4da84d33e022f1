"""Posted forms: small, URL-encoded, read by hand (no multipart, no files)."""

from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

MAX_FORM_BYTES = 16_384


class BadForm(Exception):
    """The body is no form of ours; the message says why."""


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; of a repeated one the last counts. Raises BadForm."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise BadForm(f"{kind or 'this content type'} is not accepted here")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM_BYTES:
                raise BadForm(f"a form is at most {MAX_FORM_BYTES} bytes")
    except ClientDisconnect as error:  # nobody hears it, and the log is not for strangers to fill
        raise BadForm("the form ended before it was complete") from error
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=50))
    except ValueError as error:
        raise BadForm("the form is not valid UTF-8, or has too many fields") from error
