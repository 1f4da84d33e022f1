"""Phones keep their order and do not lose what the hub could not take."""

import asyncio
import random
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bellwire.simulator import phone as phone_module
from bellwire.simulator.people import Platform, make_person
from bellwire.simulator.phone import Carrier, Phone
from tests.support.served import served


def talk(answers: list[int], speak: Callable[[Phone], None]) -> tuple[list[tuple[str, str]], dict[int, int]]:
    """What a hub that answers with these statuses (then 200) hears of a phone."""
    heard: list[tuple[str, str]] = []

    async def hear(request: Request) -> Response:
        heard.append((request.method, request.url.path))
        return JSONResponse({}, status_code=answers.pop(0) if answers else 200)

    async def main() -> dict[int, int]:
        async with served(Starlette(routes=[Route("/{path:path}", hear, methods=["GET", "POST"])])) as url:
            carrier = Carrier(hub_url=url, public_keys={Platform.IOS: "appl_test"})
            phone = Phone(make_person(1, random.Random(1), (Platform.IOS,)), carrier)
            speak(phone)
            await phone.quiet()
            await carrier.close()
            return dict(carrier.answers)

    return heard, asyncio.run(main())


def log_in_and_buy(phone: Phone) -> None:
    phone.open_app()
    phone.log_in()
    phone.post_receipt({"fetch_token": "token"})


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_module, "RETRY_DELAYS_S", (0.0, 0.0))


def test_calls_go_out_in_order() -> None:
    heard, answers = talk([], log_in_and_buy)
    assert [path.rsplit("/", 1)[-1] for _, path in heard][1:] == ["identify", "receipts"]
    assert answers == {200: 3}


def test_server_error_is_tried_again_before_the_next_call() -> None:
    heard, answers = talk([200, 503, 503, 200, 200], log_in_and_buy)
    assert [path.rsplit("/", 1)[-1] for _, path in heard][1:] == ["identify", "identify", "identify", "receipts"]
    assert answers == {200: 3, 503: 2}


def test_client_error_is_final() -> None:
    heard, _ = talk([400, 400, 400], log_in_and_buy)
    assert len(heard) == 3
