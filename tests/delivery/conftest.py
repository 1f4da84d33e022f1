"""Delivery talks much when things go wrong, and here they do all the time."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.db.conftest import database, postgres, postgres_template

__all__ = ["database", "postgres", "postgres_template"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
