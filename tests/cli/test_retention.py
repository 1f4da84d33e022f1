"""How long what is kept, in words and as JSON."""

import msgspec
import pytest
import sqlalchemy as sa

from bellwire.db.aging import DAY_MS
from bellwire.db.attempts import AttemptRecord
from bellwire.db.engine import open_engine
from bellwire.db.tables import attempts
from bellwire.kit.clock import SystemClock
from bellwire.kit.ids import row_id_at
from bellwire.settings import load_settings
from tests.cli.conftest import Bellwire, answer


def test_old_attempts_are_shown_and_go(bellwire: Bellwire, monkeypatch: pytest.MonkeyPatch) -> None:
    bellwire("project", "create", "Shop")
    fields = dict.fromkeys(AttemptRecord.__struct_fields__, "") | {"event_seq": 1, "attempt": 1, "started_at_ms": 1}
    fields |= {"duration_ms": 1, "parked": False, "response_truncated": False, "next_attempt_at_ms": None}
    fields |= {"status_code": 200, "request_body": b"", "response_body": b""}
    old = row_id_at(SystemClock().now_ms() - 10 * DAY_MS)
    engine = open_engine(load_settings().resolved_database_url())
    with engine.begin() as connection:
        connection.execute(sa.insert(attempts), [fields | {"id": old + number} for number in range(250)])
    engine.dispose()

    assert "attempts       kept 30 days" in bellwire("retention", "show").output
    assert answer(bellwire("retention", "run", "--json")) == {"rows": {}, "dropped": [], "put_off": []}
    monkeypatch.setenv("BELLWIRE_ATTEMPTS_KEPT_DAYS", "7")
    shown = answer(bellwire("retention", "show", "--json"))
    first = msgspec.convert(shown["tables"], list[dict[str, object]])[0]
    assert (first["table"], first["kept_days"], first["old_rows"]) == ("attempts", 7, 250)
    assert "250 rows would go now" in bellwire("retention", "show").output
    assert "Gone: 250 rows of attempts." in bellwire("retention", "run").output
    assert "Nothing is old enough to go." in bellwire("retention", "run").output


def test_it_says_how_far_back_state_can_be_rebuilt(bellwire: Bellwire) -> None:
    bellwire("project", "create", "Shop")
    assert "state can be rebuilt from its beginning" in bellwire("retention", "show").output
