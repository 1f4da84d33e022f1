"""One commit at a time, on both databases."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.db.conftest import engine, postgres, postgres_template
from tests.ingest.workbench import Bench

__all__ = ["engine", "it", "postgres", "postgres_template"]


@pytest.fixture
def it(engine: sa.Engine, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path)
