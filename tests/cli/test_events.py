"""`events tail`: history first, then what is committed meanwhile, until it is stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db.engine import open_engine
from bellwire.db.tables import events
from tests.cli.conftest import Bellwire, answer


@pytest.fixture
def project_id(bellwire: Bellwire) -> str:
    return str(answer(bellwire("project", "create", "Mine", "--json"))["id"])


def commit(tmp_path: Path, project_id: str, *rows: tuple[str, str]) -> None:
    """Commit events given as (type, app_user_id)."""
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'bellwire.db'}")
    with engine.begin() as connection:
        for kind, user in rows:
            payload = {"type": kind, "app_user_id": user, "event_timestamp_ms": 1_700_000_000_000, "price": 9.99}
            connection.execute(
                sa.insert(events).values(
                    id=f"{project_id}-{kind}-{user}",
                    project_id=project_id,
                    customer_id=1,
                    type=kind,
                    app_user_id=user,
                    event_timestamp_ms=payload["event_timestamp_ms"],
                    committed_at_ms=1_700_000_000_500,
                    dispatched=user != "silent",
                    historical=False,
                    payload=msgspec.json.encode(payload),
                )
            )
    engine.dispose()


def test_silence_is_explained(bellwire: Bellwire, project_id: str) -> None:
    shown = bellwire("events", "tail", "--no-follow", "--json")
    assert shown.stdout == ""
    assert shown.stderr == "No events yet.\n"


def test_history(bellwire: Bellwire, tmp_path: Path, project_id: str) -> None:
    other = str(answer(bellwire("project", "create", "Other", "--json"))["id"])
    commit(tmp_path, project_id, ("INITIAL_PURCHASE", "ann"), ("RENEWAL", "ann"), ("RENEWAL", "silent"))
    commit(tmp_path, other, ("RENEWAL", "theirs"))
    ours = ("events", "tail", "--no-follow", "--project", project_id)
    first, second, third = bellwire(*ours).stdout.splitlines()
    assert first == "2023-11-14 22:13:20  INITIAL_PURCHASE  ann"
    assert second.endswith("RENEWAL  ann")
    assert third.endswith("silent  (not dispatched)")
    assert bellwire(*ours, "-n", "1").stdout.splitlines() == [third]
    assert bellwire(*ours, "-n", "0").stdout == ""
    assert bellwire(*ours, "--type", "initial_purchase").stdout.splitlines() == [first]
    [line] = bellwire(*ours, "--json", "-n", "1").stdout.splitlines()
    decoded = msgspec.json.decode(line, type=dict[str, object])
    assert (decoded["seq"], decoded["dispatched"]) == (3, False)
    assert decoded["event"] == {
        "type": "RENEWAL",
        "app_user_id": "silent",
        "event_timestamp_ms": 1_700_000_000_000,
        "price": 9.99,
    }
    assert "RENEWEL" in bellwire("events", "tail", "--type", "RENEWEL", status=2).stderr


def test_following_until_stopped(bellwire: Bellwire, tmp_path: Path, project_id: str) -> None:
    commit(tmp_path, project_id, ("INITIAL_PURCHASE", "ann"), ("RENEWAL", "ann"))
    command = [sys.executable, "-m", "bellwire", "events", "tail", "-n", "1", "--json", "--type", "RENEWAL"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b'"ann"' in process.stdout.readline()
        commit(tmp_path, project_id, ("CANCELLATION", "ann"), ("RENEWAL", "bob"))
        assert b'"bob"' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.stderr.read() == b""
