"""Walks that need PostgreSQL start it as the tests of `db` do."""

from tests.db.conftest import postgres, postgres_template

__all__ = ["postgres", "postgres_template"]
