"""The short form of `make chaos`: a few kills on each database, with everything checked that the long form checks."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.chaos.rounds import Plan, play
from tests.support.postgres import PostgresMissing

pytestmark = pytest.mark.xdist_group("chaos")


def run(plan: Plan, folder: Path) -> None:
    result = asyncio.run(play(plan, folder))
    assert result.faults == []
    assert result.kills >= plan.kills
    assert result.verdict.events > 0


def test_nothing_is_lost_or_invented_on_sqlite(tmp_path: Path) -> None:
    run(Plan(seed=11, database="sqlite", kills=3, preload=False), tmp_path)


def test_nothing_is_lost_or_invented_on_postgresql(tmp_path: Path) -> None:
    try:
        run(Plan(seed=13, database="postgres", kills=3, preload=True), tmp_path)
    except PostgresMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
