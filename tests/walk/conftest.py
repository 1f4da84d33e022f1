"""Walks that need PostgreSQL start it as the tests of `db` do."""

from tests.db.conftest import database, postgres, postgres_template

__all__ = ["database", "postgres", "postgres_template"]
