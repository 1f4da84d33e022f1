"""A hub on its own speaks to nobody."""

import subprocess
import sys
from pathlib import Path

import pytest

WATCHED = """
import asyncio, sys
from pathlib import Path

asked = []

def watch(name, arguments):
    if name in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen"):
        asked.append((name, repr(arguments)[:200]))

from bellwire.app import Hub
from bellwire.settings import Settings

sys.addaudithook(watch)

async def run():
    folder = Path(sys.argv[1])
    hub = Hub(Settings(data_dir=folder, timer_interval_s=0.1, recovery_interval_s=0.2))
    async with hub.running():
        await asyncio.sleep(3)

asyncio.run(run())
print(len(asked), asked)
"""


def test_no_request_that_nobody_asked_for(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "0 []"


def test_pages_load_nothing_from_elsewhere() -> None:
    folder = Path(__file__).parent.parent.parent / "bellwire/web/dashboard"
    files = [*folder.glob("templates/*.html"), *folder.glob("static/*.*")]
    assert len(files) > 15
    for file in files:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        for sign in ("http://", "https://", 'src="//', "url(//", "@import"):
            if sign in text:
                pytest.fail(f"{file.name} names {sign}")
