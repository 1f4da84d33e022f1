"""The catalogue as Google's API prints it."""

from bellwire.simulator.google.catalogue import Intro, OneTimeProduct, Plan
from bellwire.simulator.google.views import JSON, money


def catalogue_subscription_json(package_name: str, plans: list[Plan], region: str) -> JSON:
    """Subscription of the catalogue."""
    return {
        "packageName": package_name,
        "productId": plans[0].product_id,
        "listings": [{"languageCode": "en-US", "title": plans[0].product_id}],
        "basePlans": [_base_plan(plan, region) for plan in plans],
    }


def _base_plan(plan: Plan, region: str) -> JSON:
    out: JSON = {
        "basePlanId": plan.plan_id,
        "state": "ACTIVE",
        "regionalConfigs": [
            {
                "regionCode": region,
                "newSubscriberAvailability": True,
                "price": money(plan.price_micros, plan.currency),
            }
        ],
    }
    if plan.prepaid:
        out["prepaidBasePlanType"] = {"billingPeriodDuration": plan.period}
    elif plan.installments:
        out["installmentsBasePlanType"] = {
            "billingPeriodDuration": plan.period,
            "committedPaymentsCount": plan.installments,
        }
    else:
        out["autoRenewingBasePlanType"] = {
            "billingPeriodDuration": plan.period,
            "gracePeriodDuration": f"P{plan.grace_days}D",
            "accountHoldDuration": f"P{plan.hold_days}D",
        }
    return out


def offers_json(package_name: str, plan: Plan, region: str) -> list[JSON]:
    """The plan's offers: at most one, with its trial and introductory phases."""
    phases: list[JSON] = []
    if plan.trial is not None:
        free: JSON = {"regionCode": region, "free": {}}
        phases.append({"duration": plan.trial, "recurrenceCount": 1, "regionalConfigs": [free]})
    if plan.intro is not None:
        phases.append(_intro_phase(plan.intro, plan.currency, region))
    if not phases:
        return []
    return [
        {
            "packageName": package_name,
            "productId": plan.product_id,
            "basePlanId": plan.plan_id,
            "offerId": "welcome",
            "state": "ACTIVE",
            "phases": phases,
            "regionalConfigs": [{"regionCode": region, "newSubscriberAvailability": True}],
        }
    ]


def _intro_phase(intro: Intro, currency: str, region: str) -> JSON:
    price: JSON = {"regionCode": region, "price": money(intro.price_micros, currency)}
    return {"duration": intro.period, "recurrenceCount": intro.count, "regionalConfigs": [price]}


def one_time_product_json(package_name: str, product: OneTimeProduct, region: str) -> JSON:
    """OneTimeProduct of the catalogue."""
    pricing: JSON = {
        "regionCode": region,
        "availability": "AVAILABLE",
        "price": money(product.price_micros, product.currency),
    }
    return {
        "packageName": package_name,
        "productId": product.product_id,
        "listings": [{"languageCode": "en-US", "title": product.product_id, "description": product.product_id}],
        "purchaseOptions": [
            {
                "purchaseOptionId": "buy",
                "state": "ACTIVE",
                "buyOption": {"legacyCompatible": True},
                "regionalPricingAndAvailabilityConfigs": [pricing],
            }
        ],
    }
