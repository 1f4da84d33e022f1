"""One integration made ready for sending: its destination, its settings decoded, its secrets known."""

from collections.abc import Mapping

import msgspec

from bellwire.delivery.veil import Veil
from bellwire.destinations.base import Destination
from bellwire.model.projects import Integration


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an attempt needs besides the event."""

    integration: Integration
    destination: Destination
    settings: msgspec.Struct
    schedule: str
    veil: Veil


class Unusable(msgspec.Struct, frozen=True, kw_only=True):
    """This integration can not send as it is configured; `reason` is fit to be shown."""

    reason: str


class Targets:
    """Targets of the current configuration; each is made once for each change of its integration."""

    def __init__(self, destinations: Mapping[str, Destination]) -> None:
        self._destinations = destinations
        self._made: dict[str, tuple[Integration, Target | Unusable]] = {}

    def of(self, integration: Integration) -> Target | Unusable:
        made = self._made.get(integration.id)
        if made is None or made[0] is not integration:
            made = (integration, self._make(integration))
            self._made[integration.id] = made
        return made[1]

    def _make(self, integration: Integration) -> Target | Unusable:
        destination = self._destinations.get(integration.destination)
        if destination is None:
            return Unusable(reason=f"this version knows no destination {integration.destination!r}")
        if integration.unreadable:
            return Unusable(reason=f"its secrets can not be opened: {integration.unreadable}")
        try:
            settings = msgspec.convert(integration.settings, destination.settings)
        except msgspec.ValidationError as error:
            return Unusable(reason=f"the settings can not be used: {error}")
        schedule = "extended" if destination.retry_schedule is None else destination.retry_schedule(settings)
        return Target(
            integration=integration, destination=destination, settings=settings, schedule=schedule, veil=Veil(settings)
        )
