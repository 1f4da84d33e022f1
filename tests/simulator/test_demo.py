"""`bellwire demo` as a newcomer meets it: an address, a login, events, and a clean end on Ctrl-C."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

WITHIN_S = 120


@contextmanager
def demo(folder: Path, *more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The demo with few customers, in a process group of its own; its output goes to `folder`/out."""
    command = [sys.executable, "-m", "bellwire", "demo", "--port", "0", "--customers", "30"]
    with (folder / "out").open("ab") as out:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data"), *more], stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[bytes]", what: str) -> None:
    """Until it holds. A demo that ends, or takes far too long, fails the test."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert process.poll() is None, f"the demo ended while waiting for {what}"
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.1)


def address(folder: Path) -> str:
    found = re.search(r"http://127\.0\.0\.1:[0-9]+\S*", (folder / "out").read_text())
    return found[0] if found else ""


def delivered(folder: Path) -> int:
    """Deliveries in the hub's own log of attempts."""
    with closing(sqlite3.connect(folder / "data/bellwire.db", timeout=30)) as database:
        (count,) = database.execute("SELECT count(*) FROM attempts WHERE outcome = 'delivered'").fetchone()
    return int(count)


def test_demo_shows_events_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        wait_for(lambda: address(tmp_path), process, "address")
        with urllib.request.urlopen(address(tmp_path)) as page:  # noqa: S310 - our own, http
            assert page.status == 200
        wait_for(lambda: delivered(tmp_path) >= 4, process, "deliveries")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=WITHIN_S) == 0
    out = (tmp_path / "out").read_text()
    assert re.search(r"E-mail +demo@example\.com", out)
    assert re.search(r"Password +\S{10,}", out)
    assert "Traceback" not in out
    assert "FORGED" not in out
    log = (tmp_path / "data/bellwire.log").read_text()
    assert "hub.stopped" in log
    assert "Traceback" not in log


def test_demo_ends_cleanly_before_it_has_begun(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        wait_for(lambda: (tmp_path / "out").read_text(), process, "first line")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=WITHIN_S) == 0
    assert "Traceback" not in (tmp_path / "out").read_text()


def test_demo_wipes_no_folder_that_it_did_not_make(tmp_path: Path) -> None:
    precious = tmp_path / "data/precious"
    precious.parent.mkdir()
    precious.write_text("mine")
    with demo(tmp_path) as process:
        assert process.wait(timeout=WITHIN_S) == 1
    assert "--data-dir" in (tmp_path / "out").read_text()
    assert precious.read_text() == "mine"
