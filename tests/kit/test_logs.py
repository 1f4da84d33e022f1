"""Wide lines: what they look like, and when they are not made."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bellwire.kit import logs
from bellwire.kit.logs import Line, configure_logs


class _Done(Line, kw_only=True, tag="thing.done"):
    thing_id: str
    took_ms: int
    reason: str | None = None


@pytest.fixture
def file() -> Iterator[io.StringIO]:
    yield io.StringIO()
    configure_logs(level="warning", as_json=False, file=io.StringIO(), keep=False)
    structlog.reset_defaults()


def line(**fields: str) -> _Done:
    return _Done(level="info", timestamp=logs.timestamp(), thing_id="t1", took_ms=3, **fields)


def test_json_has_the_keys_of_every_other_line(file: io.StringIO) -> None:
    configure_logs(level="info", as_json=True, file=file, keep=False)
    logs.write([line(), line(reason="because\nof this")])
    structlog.get_logger().info("other.thing", number=1)
    first, second, other = [json.loads(text) for text in file.getvalue().splitlines()]
    assert first.keys() == {"event", "level", "timestamp", "thing_id", "took_ms"}
    assert (first["event"], first["level"], first["took_ms"]) == ("thing.done", "info", 3)
    assert second["reason"] == "because\nof this"
    assert other.keys() == {"event", "level", "timestamp", "number"}
    assert len(first["timestamp"]) == len(other["timestamp"])


def test_text_can_not_be_used_to_forge_a_line(file: io.StringIO) -> None:
    configure_logs(level="info", as_json=False, file=file, keep=False)
    logs.write([line(reason="x\n2026-01-01T00:00:00Z [info     ] hub.started")])
    [text] = file.getvalue().splitlines()
    assert "thing.done" in text
    assert "thing_id=t1 took_ms=3 reason='x\\n2026" in text


def test_level(file: io.StringIO) -> None:
    configure_logs(level="warning", as_json=True, file=file, keep=False)
    assert not logs.wanted()
    assert logs.wanted(logging.WARNING)


def test_log_that_nobody_reads_any_more_stops_no_work(file: io.StringIO) -> None:
    configure_logs(level="info", as_json=True, file=file, keep=False)
    logger = structlog.get_logger()
    file.close()
    logs.write([line()])
    logger.warning("other.thing")


@pytest.mark.usefixtures("file")
def test_full_disk_stops_no_work() -> None:
    with Path("/dev/full").open("w") as full:
        configure_logs(level="info", as_json=True, file=full, keep=False)
        logs.write([line()] * 1000)
        structlog.get_logger().warning("other.thing")
        with contextlib.suppress(OSError):
            full.close()
