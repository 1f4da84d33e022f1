"""What every destination owes: golden requests, purity, settings that survive storage, secrets that stay secret."""

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from msgspec import inspect

from bellwire import destinations
from bellwire.destinations.base import Answer, AttemptContext, Destination, OutboundRequest, Outcome, Skip
from bellwire.destinations.registry import DESTINATIONS
from bellwire.destinations.settings import MASK, mask, secret_fields, split
from bellwire.model.events import Event

ROOT = Path(destinations.__file__).parent


class CaseContext(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    attempt: int
    sent_at_s: int


class WantedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    method: str
    url: str
    headers: dict[str, str]
    body: str


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One golden case: event + settings -> request | skip. `origin` names what it follows."""

    origin: str
    event: msgspec.Raw
    settings: dict[str, object]
    context: CaseContext
    request: WantedRequest | None = None
    skip: str | None = None

    def built(self, destination: Destination, *, later_s: int = 0) -> OutboundRequest | Skip:
        event_json = msgspec.json.encode(msgspec.json.decode(self.event))
        context = AttemptContext(
            attempt=self.context.attempt, sent_at_s=self.context.sent_at_s + later_s, event_json=event_json
        )
        return destination.build(
            msgspec.json.decode(event_json, type=Event), msgspec.convert(self.settings, destination.settings), context
        )


def case_files() -> list[Any]:
    found = [
        pytest.param(destination, path, id=f"{slug}-{path.stem}")
        for slug, destination in DESTINATIONS.items()
        for path in sorted((ROOT / slug / "cases").glob("*.json"))
    ]
    assert found
    return found


def load(path: Path) -> Case:
    return msgspec.json.decode(path.read_bytes(), type=Case)


every_case = pytest.mark.parametrize(("destination", "path"), case_files())
every_destination = pytest.mark.parametrize("destination", DESTINATIONS.values(), ids=DESTINATIONS)


@every_case
def test_the_request_is_exactly_the_golden_one(destination: Destination, path: Path) -> None:
    case = load(path)
    built = case.built(destination)
    if isinstance(built, Skip):
        assert case.request is None
        assert built.reason == case.skip
        return
    assert case.skip is None
    assert case.request == WantedRequest(built.method, built.url, built.headers, built.body.decode())


@every_case
def test_the_same_input_gives_the_same_bytes(destination: Destination, path: Path) -> None:
    case = load(path)
    assert case.built(destination) == case.built(destination)


@every_case
def test_the_body_does_not_depend_on_when_it_is_sent(destination: Destination, path: Path) -> None:
    case = load(path)
    now, later = case.built(destination), case.built(destination, later_s=3600)
    if isinstance(now, Skip) or isinstance(later, Skip):
        assert now == later
    else:
        assert now.body == later.body
        assert (now.method, now.url) == (later.method, later.url)


@every_case
def test_settings_survive_storage(destination: Destination, path: Path) -> None:
    settings = msgspec.convert(load(path).settings, destination.settings)
    plain, secret = split(settings)
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(plain | secret)), destination.settings) == settings


@every_case
def test_no_secret_shows_in_masked_settings(destination: Destination, path: Path) -> None:
    case = load(path)
    shown = msgspec.json.encode(mask(msgspec.convert(case.settings, destination.settings))).decode()
    for name in secret_fields(destination.settings):
        value = case.settings.get(name)
        if value:
            assert str(value) not in shown
            assert MASK in shown


@every_case
def test_headers_that_carry_a_secret_are_named(destination: Destination, path: Path) -> None:
    case = load(path)
    built = case.built(destination)
    if isinstance(built, Skip):
        return
    secrets = [str(case.settings[name]) for name in secret_fields(destination.settings) if case.settings.get(name)]
    for name, value in built.headers.items():
        if any(secret in value for secret in secrets):
            assert name.lower() in {known.lower() for known in built.secret_headers}
    assert not any(secret in built.url for secret in secrets if not built.secret_params)


@every_destination
def test_each_setting_has_a_title_and_words(destination: Destination) -> None:
    info = inspect.type_info(destination.settings)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        assert isinstance(field.type, inspect.Metadata), field.name
        described = cast(dict[str, object], field.type.extra_json_schema or {})
        assert described.get("title"), field.name
        assert described.get("description"), field.name


@every_destination
def test_the_schema_of_the_settings_can_be_generated(destination: Destination) -> None:
    schema = msgspec.json.schema(destination.settings)
    assert schema["$defs"]


@every_destination
def test_unknown_settings_are_refused(destination: Destination) -> None:
    assert destination.settings.__struct_config__.forbid_unknown_fields
    assert destination.settings.__struct_config__.frozen


@every_destination
def test_it_says_what_it_is(destination: Destination) -> None:
    assert DESTINATIONS[destination.slug] is destination
    assert destination.title
    assert destination.description.endswith(".")
    assert destination.guide.startswith(f"# {destination.title}")


@every_case
def test_every_answer_gets_an_outcome(destination: Destination, path: Path) -> None:
    settings = msgspec.convert(load(path).settings, destination.settings)
    if destination.classify is not None:
        for status in range(100, 600):
            assert destination.classify(Answer(status=status), settings) in Outcome
