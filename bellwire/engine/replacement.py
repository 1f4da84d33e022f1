"""One chain taking over from another (Google linked purchase tokens; spec: stores 3.5, 11.6 R15)."""

from msgspec import UNSET
from msgspec.structs import replace

from bellwire.engine import emission as emit
from bellwire.engine.emission import Context, Detection, Emission
from bellwire.model.enums import ExpirationReason
from bellwire.model.facts import Replacement, Snapshot
from bellwire.model.purchases import Chain


def rekey(old: Chain, snapshot: Snapshot) -> Chain:
    """A deferred replacement: the chain lives on under the store's new key, with its periods and event ids."""
    return replace(old, store_key=snapshot.store_key, replaces_key=old.store_key, superseded=False, takeover_told=False)


def replaced(old: Chain, snapshot: Snapshot, context: Context) -> Detection:
    """The older chain once `snapshot` names it as replaced; happens once, however often it is said."""
    if old.takeover_told:
        return Detection(after=old)
    after = replace(old, superseded=True, takeover_told=True)
    if old.latest is None:
        return Detection(after=after)
    found: list[Emission] = []
    period = old.latest
    at_ms = min((fact.purchased_at_ms for fact in snapshot.periods), default=snapshot.as_of_ms)
    if snapshot.replacement is Replacement.TOP_UP:
        if old.expired_event_for_period != period.period_key:
            found.append(emit.expiration(after, period, ExpirationReason.UNSUBSCRIBE, at_ms))
            after = replace(after, expired_event_for_period=period.period_key)
    elif snapshot.replacement is Replacement.IMMEDIATE:
        items = max(snapshot.periods, key=lambda fact: fact.purchased_at_ms).items if snapshot.periods else ()
        found.append(emit.product_change(after, period, UNSET, old.change_count + 1, at_ms, items))
    sent = at_ms >= context.now_ms - context.settings.backfill_window_ms
    return Detection(
        after=after,
        emissions=tuple(replace(item, dispatch=sent, historical=not sent, of_replaced=True) for item in found),
    )
