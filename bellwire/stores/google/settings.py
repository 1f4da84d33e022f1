"""What an operator enters to connect a Google Play app (spec: stores 3.1)."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bellwire.model.projects import App
from bellwire.stores.base import CredentialError, require_readable

API_ENDPOINT = "https://androidpublisher.googleapis.com"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
OIDC_CERTS_URL = "https://www.googleapis.com/oauth2/v3/certs"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that are no secrets. The last three are honoured only where the operator allows test roots."""

    package_name: Annotated[
        str,
        Meta(title="Package name", description="Application id, such as com.example.app; case matters.", min_length=1),
    ]
    push_audience: Annotated[
        str,
        Meta(
            title="Push audience",
            description="Audience of the Pub/Sub push subscription's OIDC token; usually this app's notification URL.",
        ),
    ] = ""
    push_service_account_email: Annotated[
        str,
        Meta(
            title="Push service account",
            description="E-mail of the service account that the push subscription authenticates as.",
        ),
    ] = ""
    allow_unauthenticated_push: Annotated[
        bool,
        Meta(
            title="Accept unauthenticated push",
            description="Accept pushes without an OIDC token; the address is then the only secret.",
        ),
    ] = False
    acknowledge_purchases: Annotated[
        bool,
        Meta(
            title="Acknowledge purchases",
            description="Acknowledge purchases after validation; Google refunds what nobody acknowledges in 3 days.",
        ),
    ] = True
    consume_consumables: Annotated[
        bool,
        Meta(
            title="Consume consumables",
            description="Also consume purchases of products that the catalogue calls consumable.",
        ),
    ] = False
    report_refunds_without_revoke: Annotated[
        bool,
        Meta(
            title="Report refunds that leave access on",
            description="Send a CANCELLATION when the latest order was refunded but the subscription goes on.",
        ),
    ] = False
    app_user_id_source: Annotated[
        Literal["anonymous", "obfuscated_external_account_id"],
        Meta(
            title="Customer of untold purchases",
            description="Who owns a purchase that only a notification told of: a new anonymous customer, or the one "
            "named by the obfuscated account id.",
        ),
    ] = "anonymous"
    api_endpoint: Annotated[str, Meta(title="API address", description="For tests: another address of the API.")] = ""
    token_uri: Annotated[str, Meta(title="Token address", description="For tests: another token server.")] = ""
    oidc_certs_url: Annotated[
        str, Meta(title="OIDC keys", description="For tests: another address of Google's public keys.")
    ] = ""


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Sealed settings."""

    service_account_json: Annotated[
        str,
        Meta(
            title="Service account key",
            description="The JSON key file. In Play Console the account needs: view app information, view financial "
            "data, manage orders and subscriptions. A new key can take a day and a half to work.",
        ),
    ] = ""

    def __repr__(self) -> str:
        return "Secrets(...)"


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a service account key file that signing needs."""

    client_email: str
    private_key: str
    private_key_id: str = ""

    def __repr__(self) -> str:
        return f"ServiceAccount(client_email={self.client_email!r})"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Where and as whom the API is called for one app."""

    package_name: str
    api_endpoint: str
    token_uri: str
    account: ServiceAccount


def read_config(app: App) -> Config:
    """The app's settings. Raises CredentialError when they are not usable."""
    try:
        return msgspec.convert(app.config, Config)
    except msgspec.ValidationError as error:
        raise CredentialError(f"the settings of app {app.id} are not usable: {error}") from error


def read_access(app: App, *, allow_test_roots: bool) -> Access:
    """The app's credentials. Raises CredentialError when the key file is missing or no key file."""
    require_readable(app)
    config = read_config(app)
    text = app.secrets.get("service_account_json", "")
    if not text:
        raise CredentialError("no service account key is set: upload the JSON key file of the service account")
    try:
        account = msgspec.json.decode(text, type=ServiceAccount)
    except msgspec.DecodeError:
        # The decoder's message could quote the key: it stays out.
        raise CredentialError("the service account key is not a JSON key file of a service account") from None
    return Access(
        package_name=config.package_name,
        api_endpoint=(allow_test_roots and config.api_endpoint) or API_ENDPOINT,
        token_uri=(allow_test_roots and config.token_uri) or TOKEN_URI,
        account=account,
    )


def certs_url(config: Config, *, allow_test_roots: bool) -> str:
    """Where the keys that sign push tokens are published."""
    return (allow_test_roots and config.oidc_certs_url) or OIDC_CERTS_URL
