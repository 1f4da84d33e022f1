"""`bellwire simulate` against a hub that runs in a process of its own."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

from tests.support.process import HubProcess

ALLOW = {"BELLWIRE_ALLOW_TEST_ROOTS": "true", "BELLWIRE_ALLOW_PRIVATE_ADDRESSES": "true"}


async def simulate(folder: Path, settings: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BELLWIRE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bellwire", "simulate", "--port", str(free_port()), *arguments),
        env=inherited | {"BELLWIRE_DATA_DIR": str(folder)} | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_scenario_is_played_and_compared(tmp_path: Path) -> None:
    async def main() -> tuple[int, str, str]:
        settings = {**ALLOW, "BELLWIRE_DANGEROUS_CLOCK_FILE": str(tmp_path / "clock"), "BELLWIRE_TIMER_INTERVAL_S": "1"}
        hub = HubProcess(tmp_path, port=free_port(), environment=settings)
        await hub.start()
        arguments = ("--hub-url", hub.url, "--scenario", "trial_cancelled", "--store", "apple", "--json")
        try:
            elsewhere = await simulate(tmp_path / "elsewhere", settings, *arguments)
            assert elsewhere[:2] == (2, "")
            assert "BELLWIRE_DATA_DIR" in elsewhere[2]
            taken = await simulate(tmp_path, settings, *arguments, "--port", hub.url.rpartition(":")[2])
            assert taken[:2] == (2, "")
            assert "in use" in taken[2]
            assert "Traceback" not in taken[2]
            return await simulate(tmp_path, settings, *arguments)
        finally:
            await hub.stop()

    status, out, err = asyncio.run(main())
    result = json.loads(out)
    assert (status, result["fits"]) == (0, True), f"{out}{err}"
    assert result["received"] == ["INITIAL_PURCHASE TRIAL 0", "CANCELLATION UNSUBSCRIBE", "EXPIRATION UNSUBSCRIBE"]


def refused(folder: Path, settings: dict[str, str], *arguments: str) -> str:
    status, _, err = asyncio.run(simulate(folder, settings, "--hub-url", "http://127.0.0.1:9", *arguments))
    assert status == 2
    assert "Traceback" not in err
    return err


def test_what_cannot_be_simulated_is_said(tmp_path: Path) -> None:
    clock = {"BELLWIRE_DANGEROUS_CLOCK_FILE": str(tmp_path / "clock")}
    assert "BELLWIRE_DANGEROUS_CLOCK_FILE" in refused(tmp_path, ALLOW, "--scenario", "trial_cancelled")
    assert "trial_cancelled" in refused(tmp_path, ALLOW | clock, "--scenario", "no_such_story")
    assert "BELLWIRE_ALLOW_TEST_ROOTS" in refused(tmp_path, clock)
    assert "bellwire serve" in refused(tmp_path, ALLOW | clock, "--scenario", "trial_cancelled", "--store", "apple")
    assert "bellwire serve" in refused(tmp_path, ALLOW | clock)
    assert "bellwire serve" in refused(tmp_path, ALLOW | clock, "--hub-url", "nonsense")
