"""A small model of a store: one customer's purchase goes through a life, and each turn of it is a statement.

It knows nothing of the engine. Like a real store it states all flags every time, tells of the latest period in its
messages and of all periods when it is asked for the history.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis.vendor.pretty import RepresentationPrinter
from msgspec.structs import replace

from bellwire.model.enums import Environment, PeriodType, PriceConsent, ProductType, Store
from bellwire.model.facts import PeriodFact, Snapshot

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MONTH_MS = 30 * DAY_MS
GRACE_MS = 16 * DAY_MS
PRODUCTS = ("silver", "gold", "monthly")


@dataclass(repr=False)
class ModelStore:
    """The store's own books about one purchase chain."""

    now_ms: int
    trial: bool = False
    one_time: bool = False
    price_micros: int = 9_990_000
    currency: str = "USD"
    periods: list[PeriodFact] = field(default_factory=list)
    told: list[Snapshot] = field(default_factory=list)
    auto_renew: bool = True
    target: str | None = None
    billing: bool = False
    retry: bool = False
    grace_ms: int | None = None
    ended: bool = False
    paused: bool = False
    pause_scheduled: bool = False
    consent: PriceConsent = PriceConsent.NONE
    refunded: set[str] = field(default_factory=set)
    """Periods whose money went back once; a store does that once only."""
    lived: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begin("monthly", PeriodType.TRIAL if self.trial else PeriodType.NORMAL, self.now_ms)
        self._tell()

    def __repr__(self) -> str:
        kind = "one-time" if self.one_time else "trial" if self.trial else "paid"
        return f"<{kind} {self.price_micros} {self.currency}: {' '.join(self.lived)}>"

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        printer.text(repr(self))

    # ---- what a store says

    def message(self) -> Snapshot:
        """A notification: the latest period and all flags."""
        return self._snapshot(tuple(self.periods[-1:]), complete=False)

    def history(self) -> Snapshot:
        """The answer to a pull: every period and all flags, an hour after the last turn."""
        self.now_ms += HOUR_MS
        return self._snapshot(tuple(self.periods), complete=True)

    def _snapshot(self, periods: tuple[PeriodFact, ...], *, complete: bool) -> Snapshot:
        snapshot = Snapshot(
            store=Store.APP_STORE,
            environment=Environment.PRODUCTION,
            store_key="P1",
            original_transaction_id="P1",
            product_type=ProductType.CONSUMABLE if self.one_time else ProductType.SUBSCRIPTION,
            as_of_ms=self.now_ms,
            periods=periods,
            complete_history=complete,
            started_at_ms=self.periods[0].purchased_at_ms,
            auto_renew=None,
        )
        if self.one_time:
            return snapshot
        return replace(
            snapshot,
            auto_renew=self.auto_renew,
            auto_renew_product_id=self.target,
            billing_issue=self.billing,
            billing_retry=self.retry,
            grace_expires_at_ms=self.grace_ms,
            paused=self.paused,
            pause_scheduled=self.pause_scheduled,
            auto_resume_at_ms=None,
            price_consent=self.consent,
            next_price_at_ms=self.latest.expires_at_ms if self.consent is not PriceConsent.NONE else None,
            ended=self.ended,
        )

    def _tell(self) -> None:
        self.told.append(self.message())

    # ---- what may happen next

    @property
    def latest(self) -> PeriodFact:
        return self.periods[-1]

    @property
    def end_ms(self) -> int:
        return self.latest.expires_at_ms or self.now_ms

    @property
    def running(self) -> bool:
        return not (self.ended or self.retry or self.paused or self.billing) and self.now_ms < self.end_ms

    def turns(self) -> Sequence[Callable[[], None]]:
        """Everything that can happen now, in a fixed order."""
        refunded = self.latest.refunded_at_ms is not None
        once = self.latest.period_key not in self.refunded
        if self.one_time:
            return [self.reverse_refund] if refunded else [self.refund] if once else []
        able: list[tuple[bool, Callable[[], None]]] = [
            (self.running and self.auto_renew and not self.pause_scheduled, self.renew),
            (self.running and self.auto_renew, self.cancel),
            (self.running and not self.auto_renew, self.enable),
            (self.running and not self.auto_renew, self.lapse),
            (self.running and self.auto_renew, self.fail_with_grace),
            (self.running and self.auto_renew, self.fail),
            (self.billing and not self.retry and not self.ended, self.lose_grace),
            (self.billing and not self.ended, self.recover),
            (self.retry and not self.ended, self.give_up),
            (self.running and self.auto_renew, self.upgrade),
            (self.running and self.auto_renew, self.plan_downgrade),
            (self.running, self.extend),
            (self.running and self.auto_renew and not self.pause_scheduled, self.plan_pause),
            (self.pause_scheduled, self.pause),
            (self.paused, self.resume),
            (self.running and self.consent is PriceConsent.NONE, self.ask_consent),
            (self.running and self.consent is PriceConsent.PENDING, self.give_consent),
            (self.running and once and self.latest.price_micros != 0, self.refund),
            (refunded and self.ended and self.now_ms < self.end_ms, self.reverse_refund),
            (self.ended, self.subscribe_again),
        ]
        return [turn for possible, turn in able if possible]

    def renew(self) -> None:
        """Some renewals come before the old period is over."""
        start_ms = self.end_ms
        self.now_ms = max(self.now_ms + HOUR_MS, start_ms - HOUR_MS // 2)
        self._begin(self.target or self.latest.product_id, PeriodType.NORMAL, start_ms)

    def cancel(self) -> None:
        self._pass(HOUR_MS)
        self.auto_renew = False

    def enable(self) -> None:
        self._pass(HOUR_MS)
        self.auto_renew = True

    def lapse(self) -> None:
        self._until(self.end_ms)
        self.ended = True

    def fail_with_grace(self) -> None:
        self._until(self.end_ms)
        self.billing, self.grace_ms = True, self.end_ms + GRACE_MS

    def fail(self) -> None:
        self._until(self.end_ms)
        self.billing, self.retry = True, True

    def lose_grace(self) -> None:
        self._until(self.end_ms + GRACE_MS)
        self.retry, self.grace_ms = True, None

    def recover(self) -> None:
        """In grace the cycle is kept, after it a new one begins."""
        self._pass(DAY_MS)
        self._begin(self.latest.product_id, PeriodType.NORMAL, self.now_ms if self.retry else self.end_ms)

    def give_up(self) -> None:
        self._pass(60 * DAY_MS)
        self.retry, self.ended = False, True

    def upgrade(self) -> None:
        self._pass(HOUR_MS)
        self._begin(self._other_product(), PeriodType.NORMAL, self.now_ms)

    def plan_downgrade(self) -> None:
        self._pass(HOUR_MS)
        self.target = self._other_product()

    def extend(self) -> None:
        self._pass(HOUR_MS)
        self._change(expires_at_ms=self.end_ms + 5 * DAY_MS)

    def plan_pause(self) -> None:
        self._pass(HOUR_MS)
        self.pause_scheduled = True

    def pause(self) -> None:
        self._until(self.end_ms)
        self.pause_scheduled, self.paused = False, True

    def resume(self) -> None:
        self._pass(20 * DAY_MS)
        self._begin(self.latest.product_id, PeriodType.NORMAL, self.now_ms)

    def ask_consent(self) -> None:
        self._pass(HOUR_MS)
        self.consent = PriceConsent.PENDING

    def give_consent(self) -> None:
        self._pass(HOUR_MS)
        self.consent = PriceConsent.ACCEPTED

    def refund(self) -> None:
        self._pass(HOUR_MS)
        self.refunded.add(self.latest.period_key)
        self.ended = not self.one_time
        self._change(refunded_at_ms=self.now_ms)

    def reverse_refund(self) -> None:
        self._pass(HOUR_MS)
        self.ended = False
        self._change(refunded_at_ms=None)

    def subscribe_again(self) -> None:
        self._pass(3 * DAY_MS)
        self.auto_renew = True
        self._begin(self.latest.product_id, PeriodType.NORMAL, self.now_ms)

    # ---- bookkeeping

    def _pass(self, length_ms: int) -> None:
        self.now_ms += length_ms

    def _until(self, moment_ms: int) -> None:
        self.now_ms = max(self.now_ms + HOUR_MS, moment_ms)

    def _other_product(self) -> str:
        used = (self.latest.product_id, self.target)
        return next(name for name in PRODUCTS if name not in used)

    def _change(self, **fields: object) -> None:
        self.periods[-1] = replace(self.latest, **fields)

    def _begin(self, product_id: str, period_type: PeriodType, start_ms: int) -> None:
        trial = period_type is PeriodType.TRIAL
        self.periods.append(
            PeriodFact(
                period_key=f"P{len(self.periods) + 1}",
                product_id="coins" if self.one_time else product_id,
                period_type=period_type,
                purchased_at_ms=start_ms,
                expires_at_ms=None if self.one_time else start_ms + (7 * DAY_MS if trial else MONTH_MS),
                price_micros=0 if trial else self.price_micros,
                currency=self.currency,
                refunded_at_ms=None,
            )
        )
        self.target = None
        self.billing, self.retry, self.ended, self.paused, self.pause_scheduled = False, False, False, False, False
        self.grace_ms, self.consent = None, PriceConsent.NONE

    def live(self, choices: Sequence[int]) -> None:
        """Let as many turns happen as there are choices; each is told of."""
        for choice in choices:
            turns = self.turns()
            if not turns:
                return
            turn = turns[choice % len(turns)]
            turn()
            self.lived.append(turn.__name__)
            self._tell()
