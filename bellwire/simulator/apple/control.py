"""The remote control of the fake App Store: buy, act, play a scenario."""

import inspect
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from bellwire.simulator.kernel import checked

if TYPE_CHECKING:
    from bellwire.simulator.apple.store import FakeAppStore

ACTIONS = frozenset(
    {
        "accept_price",
        "cancel",
        "decline_refund",
        "downgrade",
        "extend",
        "fail_payment",
        "keep_product",
        "raise_price",
        "recover",
        "redeem_offer",
        "reenable",
        "refund",
        "request_refund",
        "resubscribe",
        "reverse_refund",
        "share_with_family",
        "stop_sharing",
        "take_off_sale",
        "upgrade",
    }
)
"""Methods of the fake that `POST /_control/apple/action` may call; their arguments are the rest of the body."""


class PurchaseCommand(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /_control/apple/purchase."""

    product_id: str
    trial: bool = False
    intro: bool = False
    app_account_token: str | None = None
    environment: str = "Production"
    account: str | None = None
    quantity: int = 1
    storefront: str = "USA"


def routes(store: "FakeAppStore") -> list[BaseRoute]:
    async def purchase(request: Request) -> Response:
        command = msgspec.json.decode(await request.body(), type=PurchaseCommand)
        key = store.purchase(**msgspec.structs.asdict(command))
        return JSONResponse({"store_key": key, "signed_transaction": store.signed_transaction(key)})

    async def action(request: Request) -> Response:
        body = msgspec.json.decode(await request.body(), type=dict[str, object])
        name, store_key = str(body.pop("action", "")), str(body.pop("store_key", ""))
        if name not in ACTIONS:
            raise ValueError(f"action is one of {', '.join(sorted(ACTIONS))}")
        method = getattr(store, name)
        try:
            inspect.signature(method).bind(store_key, **body)
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from error
        return JSONResponse({"result": method(store_key, **body)})

    async def scenario(request: Request) -> Response:
        from bellwire.simulator.apple.scenarios import SCENARIOS  # the scenarios are written against the store

        found = SCENARIOS[request.path_params["name"]]
        for advance_ms, act in found.steps(store):
            store.kernel.clock.advance_ms(advance_ms)
            store.kernel.catch_up()
            act()
            await store.kernel.flush()
        return JSONResponse({"name": found.name, "expected": list(found.expected)})

    async def transaction(request: Request) -> Response:
        return JSONResponse({"signed_transaction": store.signed_transaction(request.path_params["store_key"])})

    return [
        Route("/_control/apple/purchase", checked(purchase), methods=["POST"]),
        Route("/_control/apple/action", checked(action), methods=["POST"]),
        Route("/_control/apple/scenario/{name}", checked(scenario), methods=["POST"]),
        Route("/_control/apple/signed_transaction/{store_key}", checked(transaction), methods=["GET"]),
    ]
