"""The hub's real processes, which are killed, stopped, started again, and given a clock and names of their own."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
NAMES = next(iter(sorted(Path("/usr/lib").glob("*/libnss_wrapper.so*"))), None)
"""Libraries that give a process a clock and a hosts file of its own (Debian: libfaketime, libnss-wrapper)."""

LISTENS_WITHIN_S = 180.0
ENDS_WITHIN_S = 40.0


@dataclass(kw_only=True)
class Cut:
    """Something that may have cost what was on its way: from when to when (monotonic), and how it is called."""

    name: str
    began: float
    ended: float
    on_the_wire: int = 0
    """Requests at the receiver that waited for their answer just then."""
    kills: int = 0
    fences: bool = False
    """Somebody may have taken over what another had sent and was still going to write down."""


@dataclass(kw_only=True)
class Member:
    """One process of the hub: `role` is what it does, `port` where it listens."""

    name: str
    role: str
    port: int
    environment: Mapping[str, str]
    clock_file: Path
    process: asyncio.subprocess.Process | None = None
    log: list[str] = field(default_factory=list)
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    reading: asyncio.Task[None] | None = None
    ends_expected: bool = True
    taken_for_dead: list[float] = field(default_factory=list)
    """When it found out that others had taken over what it held while it was only slow."""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def launch(self) -> None:
        """Start, and do not wait for anything."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BELLWIRE_")}
        self.listening.clear()
        self.ends_expected = False
        command = [sys.executable, "-m", "bellwire", "serve", "--role", self.role, "--port", str(self.port)]
        self.process = await asyncio.create_subprocess_exec(
            *command,
            env={**inherited, **self.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self.reading = asyncio.create_task(self._read(self.process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self.log.append(line)
            if "hub.started" in line:
                self.listening.set()
            if "worker.taken_for_dead" in line:
                self.taken_for_dead.append(time.monotonic())

    async def until_listening(self) -> None:
        """Wait for it. Raises RuntimeError with its log when it ends instead, or takes too long."""
        assert self.process is not None
        ended = asyncio.create_task(self.process.wait())
        listening = asyncio.create_task(self.listening.wait())
        await asyncio.wait({ended, listening}, return_when=asyncio.FIRST_COMPLETED, timeout=LISTENS_WITHIN_S)
        ended.cancel()
        listening.cancel()
        if not self.listening.is_set():
            raise RuntimeError(f"{self.name} did not start:\n" + "\n".join(self.log[-30:]))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; SIGKILL and SIGTERM are remembered as wanted."""
        if self.process is not None and self.process.returncode is None:
            self.ends_expected = self.ends_expected or number in (signal.SIGKILL, signal.SIGTERM)
            self.process.send_signal(number)

    async def gone(self) -> int:
        """Wait for its end; the exit code."""
        if self.process is None:
            return 0
        code = await asyncio.wait_for(self.process.wait(), timeout=ENDS_WITHIN_S)
        if self.reading is not None:
            await self.reading
        return code

    def set_clock(self, offset_s: float) -> None:
        """Put its wall clock so far from the machine's; it sees that within a second."""
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+.3f}s\n")
        fresh.rename(self.clock_file)


class Fleet:
    """All processes of one hub, and what was done to them."""

    def __init__(self, members: list[Member], hosts_file: Path) -> None:
        self.members = members
        self.cuts: list[Cut] = []
        self._open: list[Cut] = []
        self.died: list[str] = []
        """Processes that ended without being asked to."""
        self._hosts_file = hosts_file
        self._hosts_version = 0

    @property
    def kills(self) -> int:
        return sum(cut.kills for cut in self.cuts)

    def of_role(self, *roles: str) -> list[Member]:
        return [member for member in self.members if member.role in roles]

    def kill(self, members: list[Member], name: str, on_the_wire: int) -> Cut:
        """SIGKILL, all at the same instant: nothing of them gets to say goodbye."""
        for member in members:
            member.signal(signal.SIGKILL)
        now = time.monotonic()
        cut = Cut(name=name, began=now, ended=now, on_the_wire=on_the_wire, kills=len(members))
        self.cuts.append(cut)
        self._open.append(cut)
        return cut

    async def revive(self) -> None:
        """Start every process that is not running, and wait until all listen, as a service manager would."""
        for cut in self._open:
            cut.ended = time.monotonic()  # what the dead had sent may have been read only now
        self._open.clear()
        for _ in range(20):
            for member in self.members:
                if not member.running:
                    await self._note_end(member)
                    await member.launch()
            try:
                await asyncio.gather(*(member.until_listening() for member in self.members))
            except RuntimeError:
                if all(member.running for member in self.members):
                    raise
                await asyncio.sleep(0.5)  # its database is away: the service manager tries again
            else:
                return
        raise RuntimeError("the hub does not start any more:\n" + "\n".join(self.members[0].log[-40:]))

    async def _note_end(self, member: Member) -> None:
        if member.process is None:
            return
        code = await member.gone()
        if not member.ends_expected:
            self.died.append(f"{member.name} ended with status {code}: {' | '.join(member.log[-3:])}")

    async def stop(self) -> list[int]:
        """SIGTERM, as an operator would; the exit codes."""
        for member in self.members:
            member.signal(signal.SIGTERM)
        return [await member.gone() for member in self.members]

    async def end(self) -> None:
        """Whatever is still running."""
        for member in self.members:
            member.signal(signal.SIGKILL)
            await member.gone()

    def set_hosts(self, hosts: Mapping[str, str]) -> None:
        """What names resolve to from now on; a name that is not there does not resolve."""
        fresh = self._hosts_file.with_suffix(".new")
        fresh.write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
        self._hosts_version += 1
        when = int(time.time()) + self._hosts_version
        os.utime(fresh, (when, when))  # whoever looks compares times in seconds
        fresh.rename(self._hosts_file)


def preloaded(clock_file: Path, hosts_file: Path) -> dict[str, str]:
    """Environment that lets a process live by this clock and these names."""
    libraries = [str(library) for library in (FAKETIME, NAMES) if library is not None]
    return {
        "LD_PRELOAD": " ".join(libraries),
        "FAKETIME_TIMESTAMP_FILE": str(clock_file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
        "NSS_WRAPPER_HOSTS": str(hosts_file),
    }
