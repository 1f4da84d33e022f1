"""A hub in a process of its own, for the demo."""

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp

START_WITHIN_S = 60
STOP_WITHIN_S = 10


class HubFailed(Exception):
    """The hub did not start, or ended by itself; the message says where to read why."""


def choose_port(wanted: int) -> int:
    """`wanted` if it is free on the loopback address, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no port is free")


@contextlib.asynccontextmanager
async def running_hub(
    settings: Mapping[str, str], *, port: int, log_file: Path, stopping: asyncio.Event
) -> AsyncIterator[Process]:
    """Run `bellwire serve` with these `BELLWIRE_` settings; entered when it answers, or at once when `stopping`.

    Raises HubFailed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BELLWIRE_")}
    with log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bellwire",
            "serve",
            "--port",
            str(port),
            env={**environment, **settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await _answers(process, port, log_file, stopping)
        yield process
    finally:
        await _stop(process)


async def _answers(process: Process, port: int, log_file: Path, stopping: asyncio.Event) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for _ in range(START_WITHIN_S * 10):
            if stopping.is_set():
                return
            if process.returncode is not None:
                raise HubFailed(f"the hub ended with status {process.returncode}; see {log_file}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise HubFailed(f"the hub does not answer; see {log_file}")


async def _stop(process: Process) -> None:
    """A Ctrl-C in the terminal has reached the hub already; a second signal does not hurt it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), timeout=STOP_WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
