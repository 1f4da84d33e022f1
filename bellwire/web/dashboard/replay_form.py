"""The form that asks for a replay: out of an address or a posted form, and back into fields."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from bellwire.delivery.replay_orders import MAX_RATE_PER_S
from bellwire.model.enums import Environment, EventType
from bellwire.model.replays import Selection, TimeOf, What

E = TypeVar("E", bound=StrEnum)

NAMES = ("integration what event customer type environment app since until time_of include_undispatched rate").split()


class BadChoice(Exception):
    """A field is not what it should be; the message says which."""


class ReplayForm(msgspec.Struct, frozen=True, kw_only=True):
    """What was filled in, field by field as it was typed."""

    fields: dict[str, str]

    @property
    def integration_id(self) -> str:
        return self.fields.get("integration", "")

    def selection(self) -> Selection:
        """Raises BadChoice."""
        kinds = self.fields.get("type")
        environment = self.fields.get("environment")
        return Selection(
            what=_one_of(What, self.fields.get("what") or What.HISTORY, "what to send"),
            event_id=self.fields.get("event"),
            customer=self.fields.get("customer"),
            event_types=None if kinds is None else (_one_of(EventType, kinds, "the type of event"),),
            environment=None if environment is None else _one_of(Environment, environment, "the environment"),
            app_id=self.fields.get("app"),
            since_ms=_time(self.fields.get("since")),
            until_ms=_time(self.fields.get("until")),
            time_of=_one_of(TimeOf, self.fields.get("time_of") or TimeOf.EVENT, "which time is meant"),
            include_undispatched="include_undispatched" in self.fields,
        )

    def rate_per_s(self) -> float | None:
        """Raises BadChoice."""
        text = self.fields.get("rate")
        if text is None:
            return None
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if not 0 < rate <= MAX_RATE_PER_S:
            raise BadChoice(f"The rate is a number of deliveries a second, at most {MAX_RATE_PER_S:,.0f}.")
        return rate


def read_replay_form(given: Mapping[str, str]) -> ReplayForm:
    """Fields that are filled in; names that are not ours are left out. Databases hold no NUL, so nothing has one."""
    found = {name: given.get(name, "").strip().replace("\x00", "\ufffd") for name in NAMES}
    return ReplayForm(fields={name: value for name, value in found.items() if value})


def _one_of(kind: type[E], value: str, name: str) -> E:
    try:
        return kind(value)
    except ValueError as error:
        raise BadChoice(f"Choose {name} from the list.") from error


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadChoice("Write times as 2026-11-24T18:30, in UTC.") from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
