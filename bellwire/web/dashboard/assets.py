"""Style sheets and scripts, ours and those that set-up put beside them."""

from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from bellwire.web.dashboard.headers import SECURITY_HEADERS
from bellwire.web.dashboard.render import STATIC


class Assets:
    """Static files with the dashboard's headers; browsers ask each time and mostly hear 'not modified'."""

    def __init__(self) -> None:
        self._files = StaticFiles(directory=STATIC)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers.update({**SECURITY_HEADERS, "cache-control": "no-cache"})
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._files(scope, receive, send_secured)
