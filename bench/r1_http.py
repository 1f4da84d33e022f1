"""R1: how fast the HTTP server alone takes and decodes a 1.6 KB JSON POST. One process, one core; load from another.

The same libraries as the doors (Starlette and msgspec under uvicorn with uvloop and httptools), nothing else in the way.
"""

import sys
import tempfile
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.processes import python_server, wrk
from bench.sample import Incoming, body

_decoder = msgspec.json.Decoder(Incoming)


async def accept(request: Request) -> Response:
    """Decode and answer."""
    _decoder.decode(await request.body())
    return Response(b"{}", media_type="application/json")


def measure(seconds: float) -> float:
    """Requests a second."""
    with tempfile.TemporaryDirectory() as folder, python_server("bench.r1_http") as port:
        script = Path(folder) / "post.lua"
        script.write_text(
            f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [==[{body().decode()}]==]\n"
        )
        load = wrk(f"http://127.0.0.1:{port}/", script=script, seconds=seconds)
    if load.failures:
        raise RuntimeError(f"{load.failures} requests failed")
    return load.rate


def main() -> None:
    """With a port: serve. Without: measure."""
    if len(sys.argv) == 1:
        print(f"r1_http {measure(5):.0f} requests/s")
        return
    app = Starlette(routes=[Route("/", accept, methods=["POST"])])
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="error", access_log=False)


if __name__ == "__main__":
    main()
