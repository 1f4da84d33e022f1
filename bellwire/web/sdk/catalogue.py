"""What an SDK may know of the catalogue: the entitlement mapping for offline use, and offerings (spec: api 1.9)."""

import msgspec
from msgspec import UNSET, UnsetType

from bellwire.kit.endpoints import Reply
from bellwire.model.projects import Catalogue
from bellwire.web.errors import Code, WireError
from bellwire.web.sdk.door import Visitor
from bellwire.web.sdk.etags import tagged


class _Mapped(msgspec.Struct, frozen=True, kw_only=True):
    product_identifier: str
    base_plan_id: str | UnsetType = UNSET
    entitlements: tuple[str, ...]


class _Mapping(msgspec.Struct, frozen=True):
    product_entitlement_mapping: dict[str, _Mapped]


class _Offerings(msgspec.Struct, frozen=True):
    current_offering_id: str | None
    offerings: list[object]


async def get_mapping(visitor: Visitor) -> Reply:
    """Every product of the project with the entitlements it gives."""
    catalogue = visitor.services.config.current().catalogue(visitor.project_id)
    return tagged(visitor, _Mapping(_mapped(catalogue)))


async def get_offerings(visitor: Visitor) -> Reply:
    """No offerings: both keys must be there all the same. A legacy key says by its platform whose they would be."""
    if visitor.caller.app is None and visitor.platform is None:
        raise WireError(400, Code.INVALID_PLATFORM, "X-Platform is missing; with this key it must be sent.")
    if "app_user_id" in visitor.call.parameters:
        visitor.app_user_id()
    return tagged(visitor, _Offerings(current_offering_id=None, offerings=[]))


def _mapped(catalogue: Catalogue) -> dict[str, _Mapped]:
    mapped: dict[str, _Mapped] = {}
    for key in sorted(catalogue.product_types.keys() | catalogue.entitlements_by_product.keys()):
        product_id, _, plan_id = key.partition(":")
        mapped[key] = _Mapped(
            product_identifier=product_id,
            base_plan_id=plan_id or UNSET,
            entitlements=catalogue.entitlements_of(key),
        )
    return mapped
