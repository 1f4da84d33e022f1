"""A real Bellwire process on its own port, that tests may kill."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path


class HubProcess:
    """`python -m bellwire serve` on a data folder; `url` is known once it listens."""

    def __init__(
        self, folder: Path, *, port: int, environment: dict[str, str] | None = None, role: str = "all"
    ) -> None:
        self._folder = folder
        self._role = role
        self._port = port
        self._environment = environment or {}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self.url = f"http://127.0.0.1:{port}"
        self.log: list[str] = []

    async def start(self) -> None:
        """Start and wait until it listens. Raises RuntimeError with its log when it ends instead."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BELLWIRE_")}
        self._listening.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bellwire",
            "serve",
            "--role",
            self._role,
            "--port",
            str(self._port),
            env=inherited | {"BELLWIRE_DATA_DIR": str(self._folder)} | self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read(self._process))
        ended = asyncio.create_task(self._process.wait())
        listening = asyncio.create_task(self._listening.wait())
        await asyncio.wait({ended, listening}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        listening.cancel()
        if not self._listening.is_set():
            raise RuntimeError("the hub did not start:\n" + "\n".join(self.log[-30:]))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self.log.append(line)
            if re.search(r"hub\.started", line):
                self._listening.set()

    def send(self, number: signal.Signals) -> None:
        """Send a signal and do not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait until it has ended by itself; returns the exit code."""
        assert self._process is not None
        code = await asyncio.wait_for(self._process.wait(), timeout=30)
        if self._reading is not None:
            await self._reading
        return code

    async def kill(self) -> None:
        """SIGKILL: nothing of the process gets to say goodbye."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM, as an operator would; returns the exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(number)
        code = await asyncio.wait_for(self._process.wait(), timeout=30)
        if self._reading is not None:
            await self._reading
        return code
