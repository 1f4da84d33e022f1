"""Stories: short tables of what a store says, step by step, and the events that must come of it.

A story is a JSON object in `tests/golden/`. Times are days since the story began (numbers) or texts such as "7d 3h";
a month is 30 days. A field of the model that ends in `_ms` is written without that ending, one that ends in `_micros`
likewise with the amount in units. `"unset"` leaves a field out, `"absent"` expects a key not to be there.
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from bellwire.engine.access import active_entitlements
from bellwire.engine.describe import describe
from bellwire.engine.detect import detect
from bellwire.engine.emission import Context, Emission
from bellwire.engine.merge import blank_chain
from bellwire.engine.money import Rates
from bellwire.engine.replacement import rekey, replaced
from bellwire.model.customers import AppUserId, Customer
from bellwire.model.enums import Origin, Store
from bellwire.model.events import Event, EventRecord, WireItem
from bellwire.model.facts import BundleItem, PeriodFact, Replacement, Snapshot
from bellwire.model.projects import App, Catalogue, ProjectSettings
from bellwire.model.purchases import Chain

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z, day 0 of every story."""

GOLDEN = Path(__file__).parents[1] / "golden"
_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_SUBSCRIPTION_SAYS = {
    "auto_renew": True,
    "auto_renew_product_id": None,
    "billing_issue": False,
    "billing_retry": False,
    "grace_expires_at_ms": None,
    "ended": False,
}
"""What a store says of a subscription that simply runs; a step writes down what differs."""

CATALOGUE = Catalogue(
    entitlements_by_product={name: ("pro",) for name in ("monthly", "yearly", "silver", "gold", "pro", "lifetime")}
)
APP = App(id="app1", project_id="proj1", store=Store.APP_STORE, name="App", token="t" * 32)

Json = dict[str, Any]

ITEMS: dict[type[msgspec.Struct], type[msgspec.Struct]] = {PeriodFact: BundleItem, Event: WireItem}


def moment_ms(when: object) -> int:
    """A time of a story in milliseconds since the epoch."""
    if isinstance(when, str) and not re.fullmatch(r"-?[\d.]+", when):
        parts = re.findall(r"(-?\d+)([dhms])", when)
        if re.sub(r"-?\d+[dhms]", "", when).strip() or not parts:
            raise ValueError(f"not a time: {when!r}")
        return START_MS + sum(int(number) * _UNITS_MS[unit] for number, unit in parts)
    return START_MS + int(Decimal(str(when)) * _UNITS_MS["d"])


def expand(short: Mapping[str, object], struct: type[msgspec.Struct]) -> Json:
    """Shorthand as fields of `struct`; an unknown name is an error in the story."""
    fields: Json = {}
    for key, value in short.items():
        if value == "unset":
            continue
        if key == "items" and isinstance(value, list):
            fields[key] = [expand(item, ITEMS[struct]) for item in value]
        elif key in struct.__struct_fields__:
            fields[key] = value
        elif f"{key}_ms" in struct.__struct_fields__:
            fields[f"{key}_ms"] = None if value is None else moment_ms(value)
        elif f"{key}_micros" in struct.__struct_fields__:
            fields[f"{key}_micros"] = None if value is None else int(Decimal(str(value)) * 1_000_000)
        else:
            raise KeyError(f"{struct.__name__} has no {key!r}")
    return fields


class World:
    """One customer's purchases: what the ingest room does with snapshots, without a database."""

    def __init__(
        self,
        *,
        settings: ProjectSettings | None = None,
        catalogue: Catalogue = CATALOGUE,
        rates: Rates | None = None,
        app: App = APP,
    ) -> None:
        self.settings = settings or ProjectSettings()
        self.catalogue = catalogue
        self.rates = rates or Rates()
        self.app = app
        self.origin = Origin.LIVE
        self.chains: dict[int, Chain] = {}
        self.keys: dict[str, int] = {}
        self.records: list[EventRecord] = []
        self.customer = Customer(
            id=1,
            project_id="proj1",
            original_app_user_id="user1",
            ids=(AppUserId(app_user_id="user1", first_seen_ms=START_MS, last_seen_ms=START_MS),),
            first_seen_ms=START_MS,
            last_seen_ms=START_MS,
        )

    def chain(self, store_key: str) -> Chain:
        return self.chains[self.keys[store_key]]

    def apply(self, snapshot: Snapshot, now_ms: int) -> list[EventRecord]:
        """Fold one statement in; the events it causes, in order."""
        context = Context(
            now_ms=now_ms,
            settings=self.settings,
            catalogue=self.catalogue,
            app=self.app,
            rates=self.rates,
            origin=self.origin,
        )
        emissions = list(self._take_over(snapshot, context))
        chain = self.chains.get(self.keys.get(snapshot.store_key, 0)) or blank_chain(
            snapshot, chain_id=len(self.chains) + 1, project_id="proj1", app_id=self.app.id, customer_id=1
        )
        detection = detect(chain, snapshot, context)
        self._keep(detection.after)
        emissions += detection.emissions
        last_ms = self.records[-1].event.event_timestamp_ms if self.records else 0
        self.customer, records = describe(emissions, self.customer, context, first_ms=max(now_ms, last_ms + 1))
        self.records += records
        return records

    def _take_over(self, snapshot: Snapshot, context: Context) -> Iterator[Emission]:
        old_id = self.keys.get(snapshot.replaces or "")
        if old_id is None or self.keys.get(snapshot.store_key) == old_id:
            return
        if snapshot.replacement is Replacement.DEFERRED:
            self._keep(rekey(self.chains[old_id], snapshot))
            return
        detection = replaced(self.chains[old_id], snapshot, context)
        self._keep(detection.after)
        yield from detection.emissions

    def _keep(self, chain: Chain) -> None:
        self.chains[chain.id] = chain
        self.keys[chain.store_key] = chain.id

    def entitlements(self, now_ms: int) -> frozenset[str]:
        return active_entitlements(tuple(self.chains.values()), self.catalogue, self.settings, now_ms)


class Story:
    """One golden case, ready to be told to a World."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw
        self.covers: list[str] = list(raw["covers"])
        self.steps: list[Json] = raw["steps"]
        self._periods: dict[str, Json] = {**self._months(), **raw.get("periods", {})}

    @property
    def name(self) -> str:
        return "+".join(self.covers) + " " + str(self.raw["title"])

    def world(self) -> World:
        """A world with this story's catalogue, settings, rates and app, where it names any."""
        raw = self.raw
        products: dict[str, list[str]] | None = raw.get("entitlements")
        rates: dict[str, object] = raw.get("rates", {})
        return World(
            settings=msgspec.convert(raw.get("settings", {}), ProjectSettings),
            catalogue=CATALOGUE
            if products is None
            else Catalogue(entitlements_by_product={key: tuple(names) for key, names in products.items()}),
            rates=Rates({code: [(START_MS, int(Decimal(str(rate)) * 1_000_000))] for code, rate in rates.items()}),
            app=replace(APP, **expand(raw.get("app", {}), App)),
        )

    def snapshot(self, step: Json) -> Snapshot:
        """What the store says in this step. `store`, `product_type` and the like may stand once for the whole story."""
        told: Json = {**self.raw.get("chain", {}), **step.get("state", {})}
        key = str(step.get("chain", "P1"))
        one_time = told.get("product_type", "SUBSCRIPTION") != "SUBSCRIPTION"
        fields: Json = {"auto_renew": None} if one_time else dict(_SUBSCRIPTION_SAYS)
        fields |= {"environment": "PRODUCTION", "product_type": "SUBSCRIPTION", "original_transaction_id": key}
        fields |= {"store_key": key, "as_of_ms": moment_ms(step["at"]), "periods": self._facts(step)}
        given = expand(told, Snapshot)
        fields |= given
        for name, value in told.items():
            if value == "unset":
                fields.pop(name if name in fields else f"{name}_ms", None)
        return msgspec.convert(fields, Snapshot)

    def _facts(self, step: Json) -> list[Json]:
        named = step.get("periods", ["P1"])
        changes: dict[str, Json] = step.get("changed", {})
        names = list(self._periods) if named == "all" else list(named)
        return [self._fact(name, changes.get(name, {})) for name in names]

    def _fact(self, name: str, changes: Json) -> Json:
        short = self._periods[name] | changes
        trial = short.get("period_type") == "TRIAL"
        base: Json = {"period_key": name, "product_id": "monthly", "currency": "USD", "price_micros": 9_990_000}
        if trial or short.get("period_type") == "PROMOTIONAL":
            base["price_micros"] = 0
        fields = base | expand(short, PeriodFact)
        if "expires_at_ms" not in fields:
            fields["expires_at_ms"] = None
        msgspec.convert(fields, PeriodFact)
        return fields

    def _months(self) -> dict[str, Json]:
        """`"months": 14` stands for periods P1..P14 of 30 days each, from day 0."""
        count = int(str(self.raw.get("months", 0)))
        return {f"P{n}": {"purchased_at": 30 * (n - 1), "expires_at": 30 * n} for n in range(1, count + 1)}


def check_event(record: EventRecord, expected: Json) -> None:
    """Every field that the story names, compared with the event."""
    fields = {"transaction_id" if key == "of" else key: value for key, value in expected.items()}
    wanted = expand(fields, Event)
    for name, value in wanted.items():
        actual = getattr(record.event, name)
        if value == "absent":
            assert actual is UNSET, f"{record.event.type}: {name} is {actual!r}"
        elif name == "items":
            assert msgspec.to_builtins(actual) == json.loads(json.dumps(value, default=float)), record.event.type
        elif isinstance(value, Decimal):
            assert actual == float(value), f"{record.event.type}: {name} is {actual!r}, not {value}"
        else:
            assert actual == value, f"{record.event.type}: {name} is {actual!r}, not {value!r}"


def stories(folder: str) -> list[Story]:
    """Every story of a folder under `tests/golden/`, by file name."""
    found: list[Story] = []
    for path in sorted((GOLDEN / folder).glob("*.json")):
        found += [Story(raw) for raw in json.loads(path.read_text(), parse_float=Decimal)]
    return found


def tell(story: Story) -> World:
    """Walk a story through the engine and compare each step; every statement is also repeated once and must be old news."""
    world = story.world()
    for number, step in enumerate(story.steps, start=1):
        snapshot = story.snapshot(step)
        world.origin = Origin(step.get("origin", "live"))
        now_ms = moment_ms(step["arrives"]) if "arrives" in step else snapshot.as_of_ms
        records = world.apply(snapshot, now_ms)
        sent = [record for record in records if record.dispatch]
        expected: list[Json] = step["events"]
        where = f"{story.name}, step {number} ({step.get('says', '')})"
        told = [str(record.event.type) for record in sent]
        assert told == [event["type"] for event in expected], where
        for record, event in zip(sent, expected, strict=True):
            try:
                check_event(record, event)
            except AssertionError as problem:
                raise AssertionError(f"{where}: {problem}") from problem
        assert len(records) - len(sent) == step.get("kept", 0), f"{where}: kept without being sent"
        before = dict(world.chains)
        assert world.apply(snapshot, now_ms) == [], f"{where}: repeated"
        assert world.chains == before, f"{where}: repeated"
        for when, names in dict(step.get("entitled", {})).items():
            assert sorted(world.entitlements(moment_ms(when))) == names, f"{where}: entitlements at {when}"
    return world
