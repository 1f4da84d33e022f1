"""Stage times of an integration, on both databases."""

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.attempts import AttemptRecord, append_attempts
from bellwire.db.projects import create_project
from bellwire.db.stage_times import Spread, StageTimes, load_stage_times, spread
from bellwire.db.tables import events
from bellwire.kit.clock import SystemClock


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5], Spread(5, 5)),
        ([9, 1], Spread(1, 9)),
        (list(range(1, 101)), Spread(50, 99)),
        (list(range(1, 202)), Spread(101, 199)),
    ],
)
def test_spread(values: list[int], expected: Spread) -> None:
    assert spread(values) == expected


def test_first_attempts_count(engine: sa.Engine) -> None:
    now_ms = SystemClock().now_ms()
    with engine.begin() as connection:
        project = create_project(connection, name="P", now_ms=0).id

        def attempt(seq: int, waited_ms: int, took_ms: int, number: int = 1) -> AttemptRecord:
            return AttemptRecord(
                project_id=project,
                integration_id="lane",
                event_seq=seq,
                event_id=f"E{seq}",
                event_type="RENEWAL",
                trigger="automatic",
                request_method="POST",
                app_user_id=None,
                environment=None,
                attempt=number,
                outcome="delivered",
                reason="",
                started_at_ms=now_ms + waited_ms,
                duration_ms=took_ms,
            )

        for seq in range(1, 5):
            connection.execute(
                sa.insert(events).values(
                    seq=seq,
                    id=f"E{seq}",
                    project_id=project,
                    customer_id=1,
                    type="RENEWAL",
                    event_timestamp_ms=0,
                    committed_at_ms=now_ms,
                    dispatched=True,
                    historical=False,
                    payload=b"{}",
                )
            )
        records = [
            attempt(1, 10, 100),
            attempt(2, 20, 200),
            attempt(3, 30, 300),
            attempt(3, 9000, 9000, number=2),
            replace(attempt(4, 9000, 9000), trigger="manual"),
            replace(attempt(4, 9000, 9000), request_method=None),
            replace(attempt(4, 9000, 9000), integration_id="other"),
        ]
        append_attempts(connection, records)
        found = load_stage_times(connection, project, "lane", since_ms=now_ms - 60_000)
        assert found == StageTimes(events=3, committed_to_sent=Spread(20, 30), sent_to_answered=Spread(200, 300))
        assert load_stage_times(connection, "another", "lane", since_ms=0) is None
        assert load_stage_times(connection, project, "lane", since_ms=now_ms + 3_600_000) is None
