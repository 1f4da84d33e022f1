"""The remote control of the fake store: `/_control/google/...` (spec: stores 13.2)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bellwire.simulator.google.catalogue import Plan
from bellwire.simulator.google.records import PlayError
from bellwire.simulator.google.scenarios import SCENARIOS
from bellwire.simulator.kernel import checked
from bellwire.simulator.scenario import Step

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay

ACTIONS = frozenset(
    {
        "accept_price", "acknowledge", "add_on", "ask_refund_review", "cancel", "cancel_by_developer", "change_plan", "change_price",
        "charge_back", "complete_payment", "complete_pending", "convert", "defer", "fail_payment", "give_up_payment",
        "give_up_pending", "leave_out", "pause", "recover", "refund_order", "refund_product", "remove_add_on", "restart", "resubscribe",
        "resume", "revoke", "sign_up_again", "step_up_price", "top_up", "withdraw_change",
        "withdraw_pause",
    }
)  # fmt: skip
"""Methods of FakePlay that take a purchase token (or an order id) first."""


class PurchaseCommand(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /_control/google/purchase; `options` as in FakePlay.purchase and FakePlay.buy."""

    product_id: str
    options: dict[str, str | int | bool] = {}


class ActionCommand(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /_control/google/action; `arguments` as in the method of that name."""

    store_key: str
    action: str
    arguments: dict[str, str | int | bool] = {}


def google_control_routes(play: "FakePlay") -> list[Route]:
    """The routes of this store; those that all stores share are the kernel's."""

    async def purchase(request: Request) -> Response:
        command = msgspec.json.decode(await request.body(), type=PurchaseCommand)
        subscription = isinstance(play.catalogue.get(command.product_id), Plan)
        buy: Callable[..., str] = play.purchase if subscription else play.buy
        return _do(lambda: {"store_key": buy(command.product_id, **command.options)})

    async def action(request: Request) -> Response:
        command = msgspec.json.decode(await request.body(), type=ActionCommand)
        if command.action not in ACTIONS:
            raise ValueError(f"action is one of {', '.join(sorted(ACTIONS))}")
        play.kernel.catch_up()
        method: Callable[..., object] = getattr(play, command.action)
        return _do(lambda: {"result": method(command.store_key, **command.arguments)})

    async def scenario(request: Request) -> Response:
        chosen = SCENARIOS[request.path_params["name"]]
        _enact(play, list(chosen.steps(play)))
        return JSONResponse({"name": chosen.name, "expected": list(chosen.expected)})

    return [
        Route("/_control/google/purchase", checked(purchase), methods=["POST"]),
        Route("/_control/google/action", checked(action), methods=["POST"]),
        Route("/_control/google/scenario/{name}", checked(scenario), methods=["POST"]),
    ]


def _do(action: Callable[[], dict[str, object]]) -> Response:
    try:
        return JSONResponse(action())
    except PlayError as error:
        return JSONResponse({"error": str(error)}, status_code=error.status)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _enact(play: "FakePlay", steps: list[Step]) -> None:
    """Make appointments for the steps of a story, each so long after the one before."""
    when_ms = play.now_ms
    for advance_ms, action in steps:
        when_ms += advance_ms
        play.kernel.at(when_ms, _quietly(action))
    play.kernel.catch_up()


def _quietly(action: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        action()

    return run
