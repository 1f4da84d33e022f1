"""What is looked up for every commit is looked up by an index: its cost must not grow with what is stored."""

import re
from pathlib import Path

import pytest

from bellwire.db import customers, inbox, outbox, purchases
from bellwire.db.bulk import Bulk
from bellwire.db.engine import open_engine
from bellwire.db.migrate import upgrade

HOT = {
    f"{module.__name__}.{name}": statement
    for module in (customers, inbox, outbox, purchases)
    for name, statement in vars(module).items()
    if isinstance(statement, Bulk) and not name.startswith("_APPEND") and name != "_ENQUEUE"
}


@pytest.mark.parametrize("name", HOT)
def test_no_lookup_walks_a_table(name: str, tmp_path: Path) -> None:
    """Chains and customers were once found by a list of several columns, for which SQLite walked every row there is."""
    engine = open_engine(f"sqlite:///{tmp_path / 'plans.db'}")
    upgrade(engine)
    statement = HOT[name]
    text = statement._text(3)
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (1,) * text.count("?"))
        steps = [str(row[3]) for row in plan]
    engine.dispose()
    walked = [step for step in steps if re.match(r"SCAN (?!given|wanted|\d+ CONSTANT ROWS|\(subquery)", step)]
    assert walked == []
