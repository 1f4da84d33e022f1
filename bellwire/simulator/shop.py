"""Some hundred customers who buy, stay, hesitate, fail to pay, come back and leave, on the virtual clock.

What they decide follows from the seed alone. Their apps talk to the hub as SDKs do; the stores talk to it on their own.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bellwire.simulator.kernel import Kernel
from bellwire.simulator.people import Person, Platform, make_person
from bellwire.simulator.phone import Carrier, Phone
from bellwire.simulator.till import Item, Plan, Standing, Till

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

EARLY_SHARE = 0.1
EARLY_WITHIN_MS = 2 * DAY_MS
ARRIVE_WITHIN_MS = 45 * DAY_MS
FIRST_CHOICES: tuple[tuple[Plan | Item, bool, int], ...] = (
    (Plan.MONTHLY, True, 44),
    (Plan.MONTHLY, False, 16),
    (Plan.YEARLY, True, 6),
    (Plan.YEARLY, False, 6),
    (Plan.BASIC, False, 14),
    (Item.COINS, False, 10),
    (Item.LIFETIME, False, 4),
)
"""What a new customer takes, whether as a trial, and how often out of 100."""


@dataclass(kw_only=True)
class Customer:
    """A person, their phone, and the subscription they hold or held last."""

    person: Person
    phone: Phone
    till: Till
    key: str | None = None
    plan: Plan = Plan.MONTHLY
    in_trial: bool = False
    rng: random.Random = field(default_factory=random.Random)


class Shop:
    """All customers of a world. `actions` counts what they did."""

    def __init__(
        self, kernel: Kernel, tills: Mapping[Platform, Till], carrier: Carrier, *, customers: int, seed: int = 1
    ) -> None:
        self._kernel = kernel
        self._tills = tills
        self._carrier = carrier
        self._population = customers
        self._random = random.Random(seed)
        self.customers: list[Customer] = []
        self.actions: Counter[str] = Counter()

    def open(self) -> None:
        """Let the customers arrive: a tenth of them within two days, so that there is something to see."""
        start = self._kernel.now_ms
        for number in range(self._population):
            early = number < max(1, round(self._population * EARLY_SHARE))
            within = EARLY_WITHIN_MS if early else ARRIVE_WITHIN_MS
            when = start if number == 0 else start + self._random.randrange(within)
            self._kernel.at(when, self._arrive)

    def close(self) -> None:
        """Everybody hangs up."""
        for customer in self.customers:
            customer.phone.hang_up()

    # ---- one customer's life

    def _arrive(self) -> None:
        rng = random.Random(self._random.getrandbits(64))
        person = make_person(len(self.customers) + 1, rng, tuple(self._tills))
        customer = Customer(
            person=person, phone=Phone(person, self._carrier), till=self._tills[person.platform], rng=rng
        )
        self.customers.append(customer)
        self._did("arrive", customer)
        customer.phone.open_app()
        customer.phone.tell_attributes(self._kernel.now_ms)
        if person.logs_in:
            self._later(customer, MINUTE_MS, HOUR_MS, lambda: customer.phone.log_in())
        first = customer is self.customers[0]
        self._later(customer, HOUR_MS, 2 * HOUR_MS if first else 2 * DAY_MS, lambda: self._first_purchase(customer))

    def _first_purchase(self, customer: Customer) -> None:
        weights = [weight for *_, weight in FIRST_CHOICES]
        choice, trial, _ = customer.rng.choices(FIRST_CHOICES, weights=weights)[0]
        if isinstance(choice, Item):
            self._buy(customer, choice)
        else:
            self._subscribe(customer, choice, trial=trial)
        self._look_in_later(customer)

    def _look_in(self, customer: Customer) -> None:
        """Every now and then a customer thinks about the shop, and does something or nothing."""
        self._look_in_later(customer)
        if customer.rng.random() < 0.08:
            self._buy(customer, Item.COINS)
        if customer.key is None:
            if customer.rng.random() < 0.3:
                self._subscribe(customer, Plan.MONTHLY, trial=True)
            return
        match customer.till.standing(customer.key):
            case Standing.RENEWING:
                self._while_renewing(customer, customer.key)
            case Standing.CANCELLED if customer.rng.random() < 0.2:
                customer.till.reenable(customer.key)
                self._did("reenable", customer)
            case Standing.TROUBLED if customer.rng.random() < 0.55:
                customer.till.recover(customer.key)
                self._did("recover", customer)
            case Standing.OVER:
                self._after_the_end(customer)
            case _:
                pass

    def _while_renewing(self, customer: Customer, key: str) -> None:
        rng = customer.rng
        if customer.in_trial:
            customer.in_trial = False
            if rng.random() < 0.35:
                self._cancel(customer, key)
            return
        ideas: tuple[tuple[float, Callable[[], None]], ...] = (
            (0.1, lambda: self._cancel(customer, key)),
            (0.07, lambda: self._fail(customer, key)),
            (0.04, lambda: self._change(customer, key)),
            (0.03, lambda: self._refund(customer, key)),
            (0.03, lambda: self._pause(customer, key)),
            (0.02, lambda: self._restore(customer, customer.phone, key)),
            (0.01, lambda: self._restore(customer, rng.choice(self.customers).phone, key)),
        )
        dice = rng.random()
        for share, idea in ideas:
            if dice < share:
                idea()
                return
            dice -= share

    def _after_the_end(self, customer: Customer) -> None:
        dice = customer.rng.random()
        if dice < 0.3:
            self._subscribe(customer, customer.plan, trial=False, again=customer.key)
        elif dice < 0.5:
            customer.key = None
            self._did("leave", customer)
            self._kernel.at(self._kernel.now_ms, self._arrive)

    # ---- what they do

    def _subscribe(self, customer: Customer, plan: Plan, *, trial: bool, again: str | None = None) -> None:
        person = customer.person
        if again is None:
            account, country = person.store_account, person.country_alpha3
            customer.key = customer.till.subscribe(plan, trial=trial, account=account, country=country)
        else:
            customer.key = customer.till.resubscribe(again, plan)
        customer.plan, customer.in_trial = plan, trial
        self._did("trial" if trial else "subscribe" if again is None else "come back", customer)
        self._report(customer, customer.key)

    def _buy(self, customer: Customer, item: Item) -> None:
        person = customer.person
        key = customer.till.buy(item, account=person.store_account, country=person.country_alpha3)
        self._did(f"buy {item}", customer)
        self._report(customer, key)

    def _report(self, customer: Customer, key: str) -> None:
        customer.phone.post_receipt(customer.till.receipt(key))
        if customer.person.observer:
            customer.till.finish(key)

    def _cancel(self, customer: Customer, key: str) -> None:
        customer.till.cancel(key)
        self._did("cancel", customer)

    def _fail(self, customer: Customer, key: str) -> None:
        customer.till.fail_next_payment(key, grace=customer.rng.random() < 0.6)
        self._did("card expires", customer)

    def _change(self, customer: Customer, key: str) -> None:
        plan = customer.rng.choice([plan for plan in Plan if plan is not customer.plan])
        new_key = customer.till.change(key, plan)
        customer.plan = plan
        self._did("change plan", customer)
        if new_key is not None:
            customer.key = new_key
            self._report(customer, new_key)

    def _refund(self, customer: Customer, key: str) -> None:
        customer.till.refund(key)
        self._did("refund", customer)

    def _pause(self, customer: Customer, key: str) -> None:
        if customer.till.pause(key):
            self._did("pause", customer)

    def _restore(self, customer: Customer, phone: Phone, key: str) -> None:
        """On a new phone of their own, or on somebody else's: then the purchase moves."""
        if phone.person.platform is customer.person.platform:
            phone.post_receipt(customer.till.receipt(key), is_restore=True)
            self._did("restore", customer)

    # ---- small

    def _look_in_later(self, customer: Customer) -> None:
        if customer.key is None and customer.rng.random() < 0.1:
            return
        self._later(customer, 2 * DAY_MS, 16 * DAY_MS, lambda: self._look_in(customer))

    def _later(self, customer: Customer, least_ms: int, most_ms: int, action: Callable[[], None]) -> None:
        self._kernel.at(self._kernel.now_ms + customer.rng.randrange(least_ms, most_ms), action)

    def _did(self, what: str, customer: Customer) -> None:
        self.actions[what] += 1
        self._kernel.record(f"shop.{what.replace(' ', '_')}", customer=customer.person.user_id)
