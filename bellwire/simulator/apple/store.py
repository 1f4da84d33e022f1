"""The fake App Store: what customers and developers do in it. Its API is in `api`, its clockwork in `lifecycle`."""

from collections.abc import Mapping
from dataclasses import replace

from starlette.routing import BaseRoute

from bellwire.simulator.apple import api, control
from bellwire.simulator.apple.app_receipt import app_receipt
from bellwire.simulator.apple.calendar import DAY_MS, day_of_month
from bellwire.simulator.apple.catalogue import (
    DEFAULT_PRODUCTS,
    OFFER_CODE,
    Discount,
    Kind,
    Offer,
    Product,
)
from bellwire.simulator.apple.certificates import Authority, make_api_key, p8
from bellwire.simulator.apple.lifecycle import Lifecycle
from bellwire.simulator.apple.mailer import Mailer
from bellwire.simulator.apple.records import (
    ACTIVE,
    CANCELLED,
    EXPIRED,
    GRACE,
    PRODUCTION,
    RETRY,
    REVOKED,
    SANDBOX,
    Account,
    PriceIncrease,
    Subscription,
    Transaction,
)
from bellwire.simulator.kernel import Kernel

DEFAULT_GRACE_DAYS = 16


class FakeAppStore:
    """One app in a fake App Store, in both environments.

    Actions take the original transaction id of a subscription (or the id of a one-time purchase), happen at the
    kernel's present, and send Apple's notification for what they change. Raises KeyError for unknown ids.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        bundle_id: str = "com.example.simulated",
        app_apple_id: int = 1_234_567_890,
        products: Mapping[str, Product] = DEFAULT_PRODUCTS,
        seed: int = 1,
        key_id: str = "SIMKEY0001",
        issuer_id: str = "57246542-96fe-1a63-e053-0824d011072a",
    ) -> None:
        self.kernel = kernel
        self.bundle_id = bundle_id
        self.app_apple_id = app_apple_id
        self.products = dict(products)
        self.key_id = key_id
        self.issuer_id = issuer_id
        self.api_key = make_api_key(seed)
        self.authority = Authority(seed=seed)
        self.mailer = Mailer(kernel, self.authority, bundle_id=bundle_id, app_apple_id=app_apple_id)
        self.lifecycle = Lifecycle(kernel, self.mailer)
        self.accounts: dict[str, Account] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.one_time: dict[str, Transaction] = {}
        self.orders: dict[str, str] = {}
        self.consumption: list[dict[str, object]] = []
        self.extensions: dict[str, dict[str, object]] = {}
        self._owners: dict[str, str] = {}
        self.base_url = ""

    # ---- how a hub is connected

    @property
    def notification_url(self) -> str:
        """The hub's address; setting it sets both environments."""
        return self.mailer.urls[PRODUCTION]

    @notification_url.setter
    def notification_url(self, url: str) -> None:
        self.mailer.urls = {PRODUCTION: url, SANDBOX: url}

    def credentials(self) -> dict[str, dict[str, object]]:
        """Config and secrets of an app in the hub that talks to this fake."""
        return {
            "config": {
                "bundle_id": self.bundle_id,
                "app_apple_id": self.app_apple_id,
                "iap_key_id": self.key_id,
                "issuer_id": self.issuer_id,
                "root_certificates": [self.authority.root_base64],
                "api_base_url_production": f"{self.base_url}/apple/production",
                "api_base_url_sandbox": f"{self.base_url}/apple/sandbox",
            },
            "secrets": {"iap_key_p8": p8(self.api_key)},
        }

    def routes(self) -> list[BaseRoute]:
        """The API in both environments, and the remote control of this store."""
        return [*api.routes(self), *control.routes(self)]

    # ---- what devices see

    def signed_transaction(self, store_key: str) -> str:
        """The JWS that an SDK posts: of the latest transaction."""
        self.kernel.catch_up()
        return self.mailer.signed_transaction(self._latest(store_key))

    def app_receipt(self, store_key: str) -> str:
        """The base64 app receipt of StoreKit 1 for the account that owns this purchase."""
        self.kernel.catch_up()
        account = self.accounts[self._latest(store_key).account]
        return app_receipt(self.authority, account, bundle_id=self.bundle_id, now_ms=self.kernel.now_ms)

    # ---- what customers do

    def purchase(
        self,
        product_id: str,
        *,
        trial: bool = False,
        intro: bool = False,
        offer: Offer | None = None,
        app_account_token: str | None = None,
        environment: str = PRODUCTION,
        account: str | None = None,
        quantity: int = 1,
        storefront: str = "USA",
        notify: bool = True,
    ) -> str:
        """Buy a product; returns the original transaction id. `account` names an earlier buyer, else it is a new one."""
        self.kernel.catch_up()
        product = self.products[product_id]
        buyer = self._account(account, environment)
        chosen = offer or (product.trial if trial else None) or (product.intro if intro else None)
        if (trial or intro) and chosen is None:
            raise ValueError(f"{product_id} has no such offer")
        now, id_ = self.kernel.now_ms, self.lifecycle.new_id()
        subscription = Subscription(original_id=id_, transactions=[], anchor_day=day_of_month(now), recent_start_ms=now)
        renews = product.kind is Kind.SUBSCRIPTION
        transaction = Transaction(
            id=id_,
            original_id=id_,
            product=product,
            account=buyer.id,
            environment=buyer.environment,
            purchased_ms=now,
            original_purchased_ms=now,
            expires_ms=self.lifecycle.end_of(subscription, product, chosen, now) if renews else None,
            price_micros=(product.price_micros if chosen is None else chosen.price_micros) * quantity,
            quantity=quantity,
            storefront=storefront,
            offer=chosen,
            app_account_token=app_account_token,
            order_id=f"M{id_[-10:]}",
        )
        self.orders[transaction.order_id] = id_
        if not renews:
            buyer.one_time.append(transaction)
            self.one_time[id_] = transaction
            if notify:
                self.mailer.about_one_time(transaction, "ONE_TIME_CHARGE")
            return id_
        subscription.transactions.append(transaction)
        subscription.offer_left = 0 if chosen is None else chosen.periods - 1
        self._add(buyer, subscription)
        if notify:
            self.mailer.about(subscription, "SUBSCRIBED", "INITIAL_BUY")
        return id_

    def resubscribe(self, store_key: str, product_id: str | None = None) -> None:
        """Subscribe again after the end, in the same group: the chain goes on."""
        subscription = self._chain(store_key)
        product = subscription.latest.product if product_id is None else self.products[product_id]
        subscription.auto_renew, subscription.payment_works = True, True
        subscription.recent_start_ms = self.kernel.now_ms
        self.lifecycle.begin(subscription, product, at_ms=self.kernel.now_ms)
        self.mailer.about(subscription, "SUBSCRIBED", "RESUBSCRIBE")

    def cancel(self, store_key: str) -> None:
        """Switch renewal off."""
        subscription = self._chain(store_key)
        subscription.auto_renew = False
        self.mailer.about(subscription, "DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_DISABLED")

    def reenable(self, store_key: str) -> None:
        """Switch renewal on again."""
        subscription = self._chain(store_key)
        subscription.auto_renew = True
        self.mailer.about(subscription, "DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_ENABLED")

    def upgrade(self, store_key: str, product_id: str) -> str:
        """Change to a product of a higher level, or of the same level and duration, at once; returns the new id."""
        subscription = self._chain(store_key)
        subscription.latest.upgraded = True
        subscription.offer_left, subscription.price_micros, subscription.price_increase = 0, None, None
        new = self.lifecycle.begin(subscription, self.products[product_id], at_ms=self.kernel.now_ms)
        self.mailer.about(subscription, "DID_CHANGE_RENEWAL_PREF", "UPGRADE")
        return new.id

    def downgrade(self, store_key: str, product_id: str) -> None:
        """Change to a product of a lower level, or of another duration, at the next renewal."""
        subscription = self._chain(store_key)
        subscription.next_product = self.products[product_id]
        self.mailer.about(subscription, "DID_CHANGE_RENEWAL_PREF", "DOWNGRADE")

    def keep_product(self, store_key: str) -> None:
        """Take a pending change back."""
        subscription = self._chain(store_key)
        subscription.next_product = None
        self.mailer.about(subscription, "DID_CHANGE_RENEWAL_PREF")

    def redeem_offer(self, store_key: str, identifier: str, *, price_micros: int = 0) -> None:
        """Redeem an offer code in a running subscription: it applies to the next period."""
        subscription = self._chain(store_key)
        free = price_micros == 0
        subscription.next_offer = Offer(
            type=OFFER_CODE,
            discount=Discount.FREE_TRIAL if free else Discount.PAY_UP_FRONT,
            period=subscription.renewal_product.period,
            price_micros=price_micros,
            identifier=identifier,
        )
        self.mailer.about(subscription, "OFFER_REDEEMED")

    def accept_price(self, store_key: str) -> None:
        """Consent to the higher price."""
        subscription = self._chain(store_key)
        if subscription.price_increase is None:
            raise ValueError("there is no price increase to accept")
        subscription.price_increase.accepted = True
        self.mailer.about(subscription, "PRICE_INCREASE", "ACCEPTED")

    def share_with_family(self, store_key: str) -> str:
        """A family member gets the purchase too; returns that member's original transaction id."""
        owner = self._latest(store_key)
        member = self._account(None, owner.environment)
        id_ = self.lifecycle.new_id()
        shared = replace(
            owner,
            id=id_,
            original_id=id_,
            account=member.id,
            shared=True,
            purchased_ms=self.kernel.now_ms,
            original_purchased_ms=self.kernel.now_ms,
            app_account_token=None,
        )
        subscription = Subscription(original_id=id_, transactions=[shared], anchor_day=day_of_month(owner.purchased_ms))
        self._add(member, subscription)
        self.mailer.about(subscription, "SUBSCRIBED", "INITIAL_BUY")
        return id_

    def stop_sharing(self, store_key: str) -> None:
        """The member leaves the family, or the owner stops sharing. `store_key` is the member's."""
        subscription = self._chain(store_key)
        subscription.latest.revoked_ms = self.kernel.now_ms
        subscription.latest.revocation_type = "FAMILY_REVOKE"
        subscription.status, subscription.auto_renew = REVOKED, False
        subscription.epoch += 1
        self.mailer.about(subscription, "REVOKE")

    def request_refund(self, store_key: str) -> None:
        """Ask Apple for the money back: the developer is asked about consumption."""
        self._about_any(store_key, "CONSUMPTION_REQUEST")

    # ---- what banks and Apple do

    def fail_payment(self, store_key: str, *, grace: bool | int = False) -> None:
        """From the next renewal on payments fail. `grace` is the number of days, True the usual 16."""
        subscription = self._chain(store_key)
        subscription.payment_works = False
        subscription.grace_days = DEFAULT_GRACE_DAYS if grace is True else int(grace)

    def recover(self, store_key: str) -> None:
        """The open payment succeeds, in grace or in billing retry."""
        subscription = self._chain(store_key)
        if subscription.status not in (GRACE, RETRY):
            subscription.payment_works = True
            return
        self.lifecycle.settle(subscription)

    def refund(self, store_key: str, *, transaction_id: str | None = None, percentage: int | None = None) -> None:
        """Give the money of a transaction back (the latest unless named) and end what it bought.

        `percentage` in thousandths of a percent makes it a prorated refund.
        """
        transaction = self._transaction(store_key, transaction_id)
        transaction.revoked_ms = self.kernel.now_ms
        transaction.revocation_type = "REFUND_FULL" if percentage is None else "REFUND_PRORATED"
        transaction.revocation_percentage = percentage
        subscription = self.subscriptions.get(store_key)
        if subscription is None:
            self.mailer.about_one_time(transaction, "REFUND")
            return
        if transaction is subscription.latest:
            subscription.auto_renew_before_refund = subscription.auto_renew
            subscription.status, subscription.auto_renew = REVOKED, False
            subscription.epoch += 1
        self.mailer.about(subscription, "REFUND", transaction=transaction)

    def reverse_refund(self, store_key: str, *, transaction_id: str | None = None) -> None:
        """Take a refund back: what it ended is in force again."""
        transaction = self._transaction(store_key, transaction_id)
        transaction.revoked_ms = transaction.revocation_type = transaction.revocation_percentage = None
        subscription = self.subscriptions.get(store_key)
        if subscription is None:
            self.mailer.about_one_time(transaction, "REFUND_REVERSED")
            return
        if transaction is subscription.latest:
            running = (transaction.expires_ms or 0) > self.kernel.now_ms
            subscription.status = ACTIVE if running else EXPIRED
            subscription.auto_renew = running and subscription.auto_renew_before_refund
            subscription.expiration_intent = None if running else CANCELLED
            if running:
                self.lifecycle.schedule(subscription)
        self.mailer.about(subscription, "REFUND_REVERSED", transaction=transaction)

    def decline_refund(self, store_key: str) -> None:
        """Apple keeps the money."""
        self._about_any(store_key, "REFUND_DECLINED")

    # ---- what developers do

    def extend(self, store_key: str, days: int, *, notify: bool = True) -> int:
        """Move the end of the running period; returns the new end."""
        subscription = self._chain(store_key)
        latest = subscription.latest
        latest.expires_ms = (latest.expires_ms or self.kernel.now_ms) + days * DAY_MS
        subscription.anchor_day = day_of_month(latest.expires_ms)
        self.lifecycle.schedule(subscription)
        if notify:
            self.mailer.about(subscription, "RENEWAL_EXTENDED")
        return latest.expires_ms

    def raise_price(self, store_key: str, price_micros: int, *, consent: bool = True) -> None:
        """Announce a higher price for the next renewal, with or without need of consent."""
        subscription = self._chain(store_key)
        subscription.price_increase = PriceIncrease(
            price_micros=price_micros, needs_consent=consent, accepted=not consent
        )
        self.mailer.about(subscription, "PRICE_INCREASE", "PENDING" if consent else "ACCEPTED")

    def take_off_sale(self, store_key: str) -> None:
        """The product cannot be bought any more: the next renewal fails."""
        self._chain(store_key).off_sale = True

    def send_test(self, environment: str = PRODUCTION) -> str:
        """A TEST notification; returns its notificationUUID, empty when there is no address to send to."""
        remembered = self.mailer.test(environment)
        return "" if remembered is None else remembered.uuid

    # ---- looking things up

    def owner_of(self, transaction_id: str, environment: str) -> Account | None:
        """The account that any of its transaction ids names, within one environment."""
        known = self.subscriptions.get(transaction_id)
        first = known.latest if known is not None else self.one_time.get(transaction_id)
        if first is not None:  # an original id: no need to look through everybody's renewals
            owner = self.accounts[first.account]
            return owner if owner.environment == environment else None
        if transaction_id not in self._owners:
            for account in self.accounts.values():
                self._owners.update((item.id, account.id) for item in account.transactions())
        found = self.accounts.get(self._owners.get(transaction_id, ""))
        return found if found is not None and found.environment == environment else None

    def _chain(self, store_key: str) -> Subscription:
        self.kernel.catch_up()
        return self.subscriptions[store_key]

    def _latest(self, store_key: str) -> Transaction:
        return self._transaction(store_key, None)

    def _transaction(self, store_key: str, transaction_id: str | None) -> Transaction:
        self.kernel.catch_up()
        if store_key in self.one_time:
            return self.one_time[store_key]
        subscription = self.subscriptions[store_key]
        if transaction_id is None:
            return subscription.latest
        return next(item for item in subscription.transactions if item.id == transaction_id)

    def _account(self, name: str | None, environment: str) -> Account:
        id_ = self.lifecycle.new_id() if name is None else name
        return self.accounts.setdefault(id_, Account(id=id_, environment=environment))

    def _add(self, account: Account, subscription: Subscription) -> None:
        account.subscriptions.append(subscription)
        self.subscriptions[subscription.original_id] = subscription
        self.lifecycle.schedule(subscription)

    def _about_any(self, store_key: str, type_: str) -> None:
        transaction = self._latest(store_key)
        subscription = self.subscriptions.get(store_key)
        if subscription is None:
            self.mailer.about_one_time(transaction, type_)
        else:
            self.mailer.about(subscription, type_)
