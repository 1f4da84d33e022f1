"""The fake store as a whole: books, API, push, and the settings that point a hub at it."""

from starlette.routing import Route

from bellwire.simulator.google.add_ons import AddOns
from bellwire.simulator.google.api import api_routes
from bellwire.simulator.google.catalogue import Product
from bellwire.simulator.google.control import google_control_routes
from bellwire.simulator.google.identity import PUSH_EMAIL, Identity
from bellwire.simulator.google.one_time import OneTimePurchases
from bellwire.simulator.google.pushing import Pusher
from bellwire.simulator.kernel import Kernel


class FakePlay(AddOns, OneTimePurchases):
    """Google Play for one app. Mount `routes()`, then set `base_url` and `notification_url`."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        package_name: str = "com.example.app",
        catalogue: dict[str, Product] | None = None,
        region: str = "US",
        tax_ppm: int = 0,
        tax_inclusive: bool = True,
        rolling_grace: bool = False,
        prefix: str = "",
        identity: Identity | None = None,
    ) -> None:
        super().__init__(kernel, catalogue=catalogue, region=region, tax_ppm=tax_ppm, tax_inclusive=tax_inclusive)
        self.package_name = package_name
        self.prefix = prefix
        self.rolling_grace = rolling_grace
        self.base_url = ""
        """Address of the server that has `routes()` mounted, `prefix` included."""
        self.financial_permission = True
        """Whether the service account may view orders."""
        self.identity = identity or Identity()
        self.pusher = Pusher(kernel, self.identity, package_name)
        self._tell = self.pusher.push

    @property
    def notification_url(self) -> str:
        """Where notifications are pushed."""
        return self.pusher.endpoint

    @notification_url.setter
    def notification_url(self, url: str) -> None:
        self.pusher.endpoint = url

    @property
    def token_uri(self) -> str:
        return f"{self.base_url}/token"

    def credentials(self) -> dict[str, dict[str, object]]:
        """Config and secrets of the hub's app, as an operator would enter them."""
        return {
            "config": {
                "package_name": self.package_name,
                "push_audience": self.pusher.audience,
                "push_service_account_email": PUSH_EMAIL,
                "api_endpoint": self.base_url,
                "token_uri": self.token_uri,
                "oidc_certs_url": f"{self.base_url}/oauth2/v3/certs",
            },
            "secrets": {"service_account_json": self.identity.service_account_json(self.token_uri)},
        }

    def receipt(self, token: str) -> dict[str, str]:
        """What an SDK would post for this purchase."""
        subscription = self.subscriptions.get(token)
        if subscription is not None:
            return {"fetch_token": token, "product_id": subscription.base.plan.product_id}
        return {"fetch_token": token, "product_id": self.one_time_purchase(token).product.product_id}

    def send_test_notification(self) -> None:
        """What the button in Play Console does."""
        self._tell({"testNotification": {"version": "1.0"}})

    def ask_refund_review(self, order_id: str) -> None:
        """Ask the developer about a refund that a bank wants."""
        self.order(order_id)
        review = {"pendingRefundToken": f"review-{order_id}", "orderId": order_id, "refundReason": 7}
        self._tell({"pendingRefundReviewNotification": review})

    def routes(self) -> list[Route]:
        """The API, the token server, the public keys, and the remote control of this store."""
        return [*api_routes(self, self.prefix), *google_control_routes(self)]
