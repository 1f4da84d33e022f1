"""The hub's doors without what works behind them: `python -m bench.doors PORT`, on the data folder of the environment.

Verification, decoding and the durable append to the inbox happen as always; what was taken in is not worked through.
"""

import sys

import uvicorn
import uvloop

from bellwire.app import Hub, configure_logging
from bellwire.serve import spare_the_collector
from bellwire.settings import load_settings


async def serve(port: int) -> None:
    """Until SIGTERM."""
    settings = load_settings()
    configure_logging(settings)
    hub = Hub(settings)
    spare_the_collector()
    config = uvicorn.Config(hub.web, port=port, http="httptools", log_level="error", access_log=False)
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
