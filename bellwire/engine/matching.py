"""Which integrations an event goes to (spec: events 8.8, 10.1; stores 11.8). Applied once, when the event is made."""

from bellwire.model.enums import OPT_IN_EVENT_TYPES
from bellwire.model.events import EventRecord
from bellwire.model.projects import Integration


def matches(integration: Integration, record: EventRecord) -> bool:
    """Whether `record` is to be delivered to `integration`.

    An event that names no app (a promotional grant) or no environment passes only a filter that is open to all. A list
    of types is exact: types added later do not pass it, and opt-in types pass nothing else.
    """
    event = record.event
    return (
        record.dispatch
        and integration.enabled
        and integration.project_id == record.project_id
        and integration.environment in (None, event.environment)
        and integration.app_id in (None, event.app_id)
        and (
            event.type not in OPT_IN_EVENT_TYPES
            if integration.event_types is None
            else event.type in integration.event_types
        )
    )
