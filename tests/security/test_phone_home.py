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


WORKING = """
import asyncio, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bellwire.app import Hub
from bellwire.db.integrations import create_integration
from bellwire.db.projects import create_project
from bellwire.destinations.webhook.destination import Settings as Webhook
from bellwire.settings import Settings

got, asked = [], set()

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        got.append(self.path)
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()

def watch(name, arguments):
    if name == "socket.connect":
        asked.add(("connect", *arguments[1][:2]))
    elif name in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen", "os.exec"):
        asked.add((name, repr(arguments)[:200]))

sys.addaudithook(watch)

async def run():
    hub = Hub(Settings(data_dir=Path(sys.argv[1]), allow_private_addresses=True, timer_interval_s=0.1))
    async with hub.running():
        url = f"http://127.0.0.1:{receiver.server_port}/hook"
        project = await hub.writer.change(lambda c: create_project(c, name="P", now_ms=1))
        hook = await hub.writer.change(
            lambda c: create_integration(c, hub.sealer, project_id=project.id, destination="webhook", name="h",
                                         settings=Webhook(url=url), now_ms=1)
        )
        for _ in range(3):
            await hub.delivery.send_test(project.id, hook.id)
        await asyncio.sleep(1)

asyncio.run(run())
print(len(got), asked == {("connect", "127.0.0.1", receiver.server_port)}, asked)
"""


def test_a_working_hub_speaks_to_whom_it_was_told_alone(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", WORKING, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1].startswith("3 True "), found.stdout


def test_pages_load_nothing_from_elsewhere() -> None:
    folder = Path(__file__).parent.parent.parent / "bellwire/web/dashboard"
    files = [*folder.glob("templates/*.html"), *folder.glob("static/*.*")]
    assert len(files) > 15
    for file in files:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        for sign in ("http://", "https://", 'src="//', "url(//", "@import"):
            if sign in text:
                pytest.fail(f"{file.name} names {sign}")
