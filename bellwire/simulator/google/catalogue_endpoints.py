"""What the fake API tells of the catalogue."""

from typing import TYPE_CHECKING

from bellwire.simulator.google.calls import Call
from bellwire.simulator.google.catalogue import OneTimeProduct, Plan
from bellwire.simulator.google.catalogue_views import catalogue_subscription_json, offers_json, one_time_product_json
from bellwire.simulator.google.records import PlayError
from bellwire.simulator.google.views import JSON

if TYPE_CHECKING:
    from bellwire.simulator.google.play import FakePlay


def _plans_by_product(play: "FakePlay") -> dict[str, list[Plan]]:
    plans: dict[str, list[Plan]] = {}
    for product in play.catalogue.values():
        if isinstance(product, Plan):
            plans.setdefault(product.product_id, []).append(product)
    return plans


def list_subscriptions(call: Call) -> JSON:
    play = call.play
    plans = _plans_by_product(play).values()
    return {"subscriptions": [catalogue_subscription_json(play.package_name, group, play.region) for group in plans]}


def get_catalogue_subscription(call: Call) -> JSON:
    play = call.play
    plans = _plans_by_product(play).get(call.path["product_id"])
    if plans is None:
        raise PlayError(404, "subscriptionNotFound", "The subscription was not found.")
    return catalogue_subscription_json(play.package_name, plans, play.region)


def list_offers(call: Call) -> JSON:
    play = call.play
    plan = play.plan(f"{call.path['product_id']}:{call.path['plan_id']}")
    offers = offers_json(play.package_name, plan, play.region)
    return {"subscriptionOffers": offers} if offers else {}


def list_one_time_products(call: Call) -> JSON:
    play = call.play
    products = [p for p in play.catalogue.values() if isinstance(p, OneTimeProduct)]
    return {"oneTimeProducts": [one_time_product_json(play.package_name, p, play.region) for p in products]}


def get_one_time_product(call: Call) -> JSON:
    product = call.play.one_time_product(call.path["product_id"])
    return one_time_product_json(call.play.package_name, product, call.play.region)
