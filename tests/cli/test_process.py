"""The command as users start it: a process of its own, with its exit status and its two streams."""

import base64
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec


def run(tmp_path: Path, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("bellwire")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BELLWIRE_")}
    return subprocess.run(
        [script, *arguments],
        cwd=tmp_path,
        env=environment | settings,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_first_installation(tmp_path: Path) -> None:
    made = run(tmp_path, "project", "create", "Mine", "--json")
    assert made.returncode == 0
    assert msgspec.json.decode(made.stdout)["name"] == "Mine"
    assert "Created project" in made.stderr
    assert (tmp_path / "bellwire-data" / "sealing.key").stat().st_mode & 0o777 == 0o600
    user = run(tmp_path, "user", "create", "ann@example.com", "--password-stdin", stdin="correct horse battery\n")
    assert (user.returncode, user.stderr) == (0, "")


def test_exit_status(tmp_path: Path) -> None:
    failed = run(tmp_path, "project", "list")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: ")
    assert "Traceback" not in failed.stderr
    misused = run(tmp_path, "project", "create")
    assert (misused.returncode, misused.stdout) == (2, "")
    assert run(tmp_path, "--version").stdout.startswith("bellwire, version ")
    assert "serve" in run(tmp_path, "--help").stdout


def test_arguments_that_are_no_text(tmp_path: Path) -> None:
    done = run(tmp_path, "project", "create", "caf\udce9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_keeps_the_hub_from_starting_is_one_line(tmp_path: Path) -> None:
    def refused(*options: str, **settings: str) -> str:
        done = run(tmp_path, "serve", *(options or ("--port", "0")), **settings)
        assert (done.returncode, done.stdout) == (1, "")
        [line] = done.stderr.splitlines()
        return line

    run(tmp_path, "project", "create", "Mine")
    run(tmp_path, "app", "create", "app-store", "A", "--bundle-id", "a")
    other_key = base64.urlsafe_b64encode(b"k" * 32).decode()
    assert "was sealed with key" in refused(BELLWIRE_SECRET_KEY=other_key)
    assert "BELLWIRE_DATABASE_URL" in refused(BELLWIRE_DATABASE_URL="nonsense")
    assert "BELLWIRE_LOG_LEVEL is not usable: it is none of debug, info" in refused(BELLWIRE_LOG_LEVEL="loud")
    assert "cannot listen on nowhere.invalid" in refused(BELLWIRE_HOST="nowhere.invalid")
    assert "BELLWIRE_DATA_DIR" in refused(BELLWIRE_DATA_DIR="/dev/null")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} of 127.0.0.1 is in use" in refused("--port", port)
