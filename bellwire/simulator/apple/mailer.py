"""Server Notifications V2 of the fake: signed, sent with Apple's retry schedule, and remembered for the history."""

from bellwire.simulator.apple.certificates import Authority
from bellwire.simulator.apple.records import PRODUCTION, SANDBOX, Remembered, Subscription, Transaction
from bellwire.simulator.kernel import Kernel, Outgoing

_RETRY_HOURS = {PRODUCTION: (1, 12, 24, 48, 72), SANDBOX: ()}
_HEADERS = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "App Store (simulated)"}


class Mailer:
    """Words, signs and sends. `urls` maps each environment to the hub's address; an empty one sends nothing."""

    def __init__(self, kernel: Kernel, authority: Authority, *, bundle_id: str, app_apple_id: int) -> None:
        self._kernel = kernel
        self._authority = authority
        self._bundle_id = bundle_id
        self._app_apple_id = app_apple_id
        self.urls = {PRODUCTION: "", SANDBOX: ""}
        self.memory: list[Remembered] = []

    def about(
        self,
        subscription: Subscription,
        type_: str,
        subtype: str | None = None,
        *,
        transaction: Transaction | None = None,
    ) -> None:
        """A notification with the transaction (the latest unless named), the renewal info and the status."""
        item = transaction or subscription.latest
        now = self._kernel.now_ms
        data: dict[str, object] = {
            "status": subscription.status,
            "signedTransactionInfo": self.signed_transaction(item),
            "signedRenewalInfo": self._authority.sign(subscription.renewal_payload(signed_ms=now)),
        }
        self._data(item.environment, type_, subtype, data, account=item.account)

    def about_one_time(self, transaction: Transaction, type_: str, subtype: str | None = None) -> None:
        """A notification about a purchase that does not renew."""
        data: dict[str, object] = {"signedTransactionInfo": self.signed_transaction(transaction)}
        self._data(transaction.environment, type_, subtype, data, account=transaction.account)

    def test(self, environment: str) -> Remembered | None:
        """The TEST notification that a developer asks for."""
        return self._data(environment, "TEST", None, {}, account=None)

    def summary(self, environment: str, product_id: str, request_id: str, succeeded: int) -> None:
        """RENEWAL_EXTENSION / SUMMARY of a mass extension."""
        part: dict[str, object] = {
            "requestIdentifier": request_id,
            "productId": product_id,
            "storefrontCountryCodes": [],
            "succeededCount": succeeded,
            "failedCount": 0,
        }
        self._send(environment, "RENEWAL_EXTENSION", "SUMMARY", "summary", part, account=None)

    def signed_transaction(self, transaction: Transaction) -> str:
        """A transaction as the device and the API give it, signed now."""
        return self._authority.sign(transaction.payload(bundle_id=self._bundle_id, signed_ms=self._kernel.now_ms))

    def _data(
        self, environment: str, type_: str, subtype: str | None, data: dict[str, object], *, account: str | None
    ) -> Remembered | None:
        return self._send(environment, type_, subtype, "data", {"bundleVersion": "1", **data}, account=account)

    def _send(
        self,
        environment: str,
        type_: str,
        subtype: str | None,
        part_name: str,
        part: dict[str, object],
        *,
        account: str | None,
    ) -> Remembered | None:
        url = self.urls[environment]
        self._kernel.record("apple.notification", type=type_, subtype=subtype, account=account, sent=bool(url))
        if not url:
            return None
        now = self._kernel.now_ms
        # Apple leaves the app's id out of sandbox payloads.
        identity: dict[str, object] = {"bundleId": self._bundle_id, "environment": environment}
        if environment == PRODUCTION:
            identity["appAppleId"] = self._app_apple_id
        payload: dict[str, object] = {
            "notificationType": type_,
            "notificationUUID": self._kernel.uuid(),
            "version": "2.0",
            "signedDate": now,
            part_name: {**identity, **part},
        }
        if subtype is not None:
            payload["subtype"] = subtype
        signed = self._authority.sign(payload)
        uuid = str(payload["notificationUUID"])
        sent = self._kernel.notifier.send(
            Outgoing(
                store="apple",
                url=url,
                body=b'{"signedPayload":"' + signed.encode() + b'"}',
                headers_fn=lambda: _HEADERS,
                retry_delays_s=tuple(hours * 3600.0 for hours in _RETRY_HOURS[environment]),
                label=uuid,
            )
        )
        remembered = Remembered(
            uuid=uuid,
            type=type_,
            subtype=subtype,
            environment=environment,
            signed_ms=now,
            signed_payload=signed,
            account=account,
            sent=sent,
        )
        self.memory.append(remembered)
        return remembered
