"""Two processes that change the same customers at the same moment (architecture D2): nothing is lost, nothing doubled."""

import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from bellwire.db.config import ConfigCache
from bellwire.db.engine import open_engine
from bellwire.db.secrets import Sealer
from bellwire.db.tables import app_user_ids, attributes, chains, customers, events, outbox, periods
from bellwire.db.writer import Writer
from bellwire.engine.attributes import AttributeChange
from bellwire.ingest.units import Identify, SeeCustomer, Unit, UnitRunner
from tests.ingest.workbench import DAY_MS, NOW_MS, VISIT, Bench

MONTH_MS = 30 * DAY_MS


@pytest.fixture(autouse=True)
def many_small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellwire.db.writer.MAX_UNITS_PER_COMMIT", 2)


class Process:
    """What a process of its own has: a connection, a committer, its copy of the configuration."""

    def __init__(self, it: Bench, folder: Path) -> None:
        self.engine = open_engine(it.engine.url.render_as_string(hide_password=False))
        config = ConfigCache(self.engine, Sealer.open_or_create(folder, ""))
        self.writer = Writer(self.engine)
        self.runner = UnitRunner(config, it.clock, it.clock)

    def submit(self, unit: Unit) -> Any:
        return self.writer.submit(self.runner.handle, unit)

    def close(self) -> None:
        self.writer.close()
        self.engine.dispose()


def race(it: Bench, folder: Path, first: list[Unit], second: list[Unit]) -> list[Any]:
    """Hand the units to two processes at once; every answer."""
    processes = [Process(it, folder), Process(it, folder)]
    try:
        waiting: list[Any] = []
        for pair in itertools.zip_longest(first, second):
            waiting += [one.submit(unit) for one, unit in zip(processes, pair, strict=True) if unit is not None]
        return [future.result(timeout=60) for future in waiting]
    finally:
        for process in processes:
            process.close()


def sequences(it: Bench) -> dict[int, list[int]]:
    """The sequence numbers that events of each customer carry, in order of commit."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    sent = [row for row in it.rows(events) if row["dispatched"]]  # others have no number
    for row in sorted(sent, key=lambda row: row["seq"]):
        found[row["customer_id"]].append(json.loads(row["payload"])["customer_sequence"])
    return found


def shuffled(units: list[Unit], seed: int) -> list[Unit]:
    return random.Random(seed).sample(units, len(units))


@pytest.mark.parametrize("seed", range(3))
def test_hammering_the_same_customers_loses_no_update_and_breaks_no_sequence(
    it: Bench, tmp_path: Path, seed: int
) -> None:
    names = [f"user-{number}" for number in range(6)]

    def told(name: str, number: int) -> list[Unit]:
        """A purchase that two processes hear of: as receipt and as notification, with ever more periods."""
        growing = [it.snapshot(f"{name}/{number}", periods=periods) for periods in (1, 2, 3)]
        growing = [replace(one, as_of_ms=NOW_MS + index) for index, one in enumerate(growing)]
        note = {f"note-{number}": AttributeChange(value="x", updated_at_ms=None)}
        return [it.posted(name, growing[0], attributes=note), *(it.notified(one) for one in growing[1:])]

    it.do(*(it.posted(name, it.snapshot(f"{name}/{number}")) for name in names for number in range(5)))
    units = [unit for name in names for number in range(5) for unit in told(name, number)]
    answers = race(it, tmp_path, shuffled(units, seed), shuffled(units, seed + 100))
    assert len(answers) == 2 * len(units)
    ids = [row["id"] for row in it.rows(events)]
    assert len(ids) == len(set(ids))
    assert len(it.rows(outbox)) == len([row for row in it.rows(events) if row["dispatched"]])
    owners = {row["app_user_id"]: row["customer_id"] for row in it.rows(app_user_ids)}
    for name in names:
        mine = [row for row in it.rows(chains) if row["customer_id"] == owners[name]]
        assert sorted(row["store_key"] for row in mine) == [f"{name}/{number}" for number in range(5)]
    assert Counter(row["chain_id"] for row in it.rows(periods)) == {row["id"]: 3 for row in it.rows(chains)}
    assert len(it.rows(attributes)) == 5 * len(names)
    counted = {row["id"]: row["next_sequence"] for row in it.rows(customers)}
    assert sequences(it) == {customer: list(range(1, following)) for customer, following in counted.items()}


@pytest.mark.parametrize("make", ["see", "post"])
def test_a_customer_that_two_processes_make_at_once_is_one(it: Bench, tmp_path: Path, make: str) -> None:
    def seen(name: str) -> Unit:
        return SeeCustomer(project_id=it.project_id, app_user_id=name, visit=VISIT)

    def bought(name: str) -> Unit:
        return it.posted(name, it.snapshot(f"of-{name}"))

    makers: dict[str, Callable[[str], Unit]] = {"see": seen, "post": bought}
    units = [makers[make](f"new-{number}") for number in range(150)]
    answers = race(it, tmp_path, units, units)
    assert len(answers) == 300
    assert len(it.rows(customers)) == len(it.rows(app_user_ids)) == 150
    if make == "post":
        assert len(it.rows(chains)) == len(it.rows(events)) == 150


def test_logins_and_receipts_that_meet_leave_each_purchase_with_one_owner(it: Bench, tmp_path: Path) -> None:
    first: list[Unit] = []
    second: list[Unit] = []
    for number in range(40):
        anonymous = "$RCAnonymousID:" + f"{number:032}"
        first.append(it.posted(anonymous, it.snapshot(f"A{number}")))
        first.append(
            Identify(project_id=it.project_id, app_user_id=anonymous, new_app_user_id=f"u{number}", visit=VISIT)
        )
        second.append(it.posted(f"u{number}", it.snapshot(f"B{number}")))
        second.append(it.notified(it.snapshot(f"A{number}", periods=2)))
    race(it, tmp_path, first, second)
    present = {row["id"] for row in it.rows(customers)}
    for table in (chains, events, outbox, app_user_ids):
        assert {row["customer_id"] for row in it.rows(table)} <= present
    assert sorted(row["store_key"] for row in it.rows(chains)) == sorted(
        [f"A{number}" for number in range(40)] + [f"B{number}" for number in range(40)]
    )
    ids = [row["id"] for row in it.rows(events)]
    assert len(ids) == len(set(ids))
    with it.engine.connect() as connection:
        lost = connection.execute(
            sa.select(sa.func.count()).select_from(chains).where(chains.c.customer_id.not_in(sa.select(customers.c.id)))
        ).scalar_one()
    assert lost == 0
