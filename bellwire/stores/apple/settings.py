"""What an operator enters for an App Store app (spec: stores 2.1)."""

from typing import Annotated

import msgspec


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The part that is no secret; JSON of `App.config`."""

    bundle_id: Annotated[
        str, msgspec.Meta(title="Bundle ID", description="As in App Store Connect, exact case.", pattern=r"^\S+$(?!\n)")
    ]
    app_apple_id: Annotated[
        Annotated[int, msgspec.Meta(gt=0, lt=2**62)] | None,
        msgspec.Meta(
            title="Apple ID of the app",
            description="The number under App Information. Production notifications are refused without it.",
        ),
    ] = None
    iap_key_id: Annotated[
        str,
        msgspec.Meta(
            title="In-App Purchase key ID",
            description="App Store Connect > Users and Access > Integrations > In-App Purchase.",
        ),
    ] = ""
    issuer_id: Annotated[
        str, msgspec.Meta(title="Issuer ID", description="The UUID above the list of In-App Purchase keys.")
    ] = ""
    root_certificates: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            title="Extra root certificates",
            description="Base64 DER. Used only where the operator allows test roots; for simulators.",
        ),
    ] = ()
    api_base_url_production: Annotated[
        str, msgspec.Meta(title="Production API address", description="Used only where test roots are allowed.")
    ] = ""
    api_base_url_sandbox: Annotated[
        str, msgspec.Meta(title="Sandbox API address", description="Used only where test roots are allowed.")
    ] = ""


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed part; `App.secrets`. `repr` shows nothing of it."""

    iap_key_p8: Annotated[
        str,
        msgspec.Meta(
            title="In-App Purchase key",
            description="Content of the .p8 file; App Store Connect offers its download only once.",
        ),
    ] = ""

    def __repr__(self) -> str:
        return "Secrets(...)"
