"""Filters of an integration (spec: events 10.1, 14.30, 14.48, 14.49; stores 11.8)."""

import pytest
from msgspec.structs import replace

from bellwire.engine.matching import matches
from bellwire.model.enums import OPT_IN_EVENT_TYPES, Environment, EventType
from bellwire.model.events import Event, EventRecord
from bellwire.model.projects import Integration

EVERYTHING = Integration(id="i1", project_id="p1", destination="webhook", name="all")
PURCHASE = Event(
    type=EventType.INITIAL_PURCHASE,
    id="E1",
    event_timestamp_ms=1,
    app_id="app1",
    environment=Environment.SANDBOX,
)


def record(event: Event = PURCHASE, *, dispatch: bool = True) -> EventRecord:
    return EventRecord(
        event=event,
        project_id="p1",
        customer_id=1,
        chain_id=None,
        app_id="app1",
        store_time_ms=None,
        dispatch=dispatch,
    )


def test_open_filters_let_everything_through() -> None:
    assert matches(EVERYTHING, record())


def test_what_is_kept_for_history_goes_nowhere() -> None:
    assert not matches(EVERYTHING, record(dispatch=False))


def test_other_projects_and_switched_off_integrations_get_nothing() -> None:
    assert not matches(replace(EVERYTHING, project_id="p2"), record())
    assert not matches(replace(EVERYTHING, enabled=False), record())


def test_a_sandbox_purchase_reaches_only_the_sandbox_webhook() -> None:
    assert matches(replace(EVERYTHING, environment=Environment.SANDBOX), record())
    assert not matches(replace(EVERYTHING, environment=Environment.PRODUCTION), record())


def test_an_event_without_app_or_environment_passes_only_open_filters() -> None:
    bare = record(Event(type=EventType.EXPERIMENT_ENROLLMENT, id="E2", event_timestamp_ms=1))
    assert matches(EVERYTHING, bare)
    assert not matches(replace(EVERYTHING, app_id="app1"), bare)
    assert not matches(replace(EVERYTHING, environment=Environment.PRODUCTION), bare)


def test_one_app() -> None:
    assert matches(replace(EVERYTHING, app_id="app1"), record())
    assert not matches(replace(EVERYTHING, app_id="app2"), record())


def test_a_list_of_types_is_exact() -> None:
    only = replace(EVERYTHING, event_types=(EventType.EXPIRATION,))
    assert not matches(only, record())
    assert matches(only, record(replace(PURCHASE, type=EventType.EXPIRATION)))
    assert not matches(replace(EVERYTHING, event_types=()), record())


@pytest.mark.parametrize("opt_in", sorted(OPT_IN_EVENT_TYPES))
def test_opt_in_types_must_be_named(opt_in: EventType) -> None:
    event = record(replace(PURCHASE, type=opt_in))
    assert not matches(EVERYTHING, event)
    assert matches(replace(EVERYTHING, event_types=(opt_in,)), event)
