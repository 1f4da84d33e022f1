"""Google's own structures, as far as they are read: androidpublisher v3 and Real-time developer notifications.

Enumerations stay text, since Google adds values without notice. Empty objects matter: their presence says something.
Timestamps stay text until `times.parse_ms`. Proto JSON leaves out what is false, zero or empty, hence the defaults.
"""

import msgspec


class Present(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message without fields that are of interest; it is there or it is not."""


class Money(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    currency_code: str = ""
    units: str = "0"
    nanos: int = 0


class PriceChangeDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    new_price: Money | None = None
    price_change_mode: str = ""
    price_change_state: str = ""
    expected_new_price_charge_time: str | None = None


class PriceStepUpConsentDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    state: str = ""
    consent_deadline_time: str | None = None
    new_price: Money | None = None


class InstallmentDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pending_cancellation: Present | None = None


class AutoRenewingPlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    auto_renew_enabled: bool = False
    recurring_price: Money | None = None
    price_change_details: PriceChangeDetails | None = None
    price_step_up_consent_details: PriceStepUpConsentDetails | None = None
    installment_details: InstallmentDetails | None = None


class OfferDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    base_plan_id: str | None = None
    offer_id: str | None = None


class ProrationPeriod(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    original_offer_phase_type: str = ""


class OfferPhase(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    base_price: Present | None = None
    introductory_price: Present | None = None
    free_trial: Present | None = None
    proration_period: ProrationPeriod | None = None


class ItemReplacement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    product_id: str = ""
    base_plan_id: str | None = None
    replacement_mode: str = ""


class DeferredItemReplacement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    product_id: str = ""


class VanityCode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    promotion_code: str | None = None


class SignupPromotion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    one_time_code: Present | None = None
    vanity_code: VanityCode | None = None


class LineItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One item of a subscription purchase."""

    product_id: str
    expiry_time: str | None = None
    latest_successful_order_id: str | None = None
    auto_renewing_plan: AutoRenewingPlan | None = None
    prepaid_plan: Present | None = None
    offer_details: OfferDetails | None = None
    offer_phase: OfferPhase | None = None
    deferred_item_replacement: DeferredItemReplacement | None = None
    deferred_item_removal: Present | None = None
    item_replacement: ItemReplacement | None = None
    signup_promotion: SignupPromotion | None = None


class CancelSurveyResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    reason: str = ""
    reason_user_input: str | None = None


class UserInitiatedCancellation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    cancel_time: str | None = None
    cancel_survey_result: CancelSurveyResult | None = None


class CanceledStateContext(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    user_initiated_cancellation: UserInitiatedCancellation | None = None
    system_initiated_cancellation: Present | None = None
    developer_initiated_cancellation: Present | None = None
    replacement_cancellation: Present | None = None


class PausedStateContext(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    auto_resume_time: str | None = None


class AccountIdentifiers(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    external_account_id: str | None = None
    obfuscated_external_account_id: str | None = None
    obfuscated_external_profile_id: str | None = None


class OutOfAppPurchaseContext(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    expired_external_account_identifiers: AccountIdentifiers | None = None
    expired_purchase_token: str | None = None


class SubscriptionPurchase(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """SubscriptionPurchaseV2."""

    subscription_state: str = ""
    region_code: str | None = None
    start_time: str | None = None
    linked_purchase_token: str | None = None
    acknowledgement_state: str = ""
    test_purchase: Present | None = None
    external_account_identifiers: AccountIdentifiers | None = None
    paused_state_context: PausedStateContext | None = None
    canceled_state_context: CanceledStateContext | None = None
    out_of_app_purchase_context: OutOfAppPurchaseContext | None = None
    line_items: tuple[LineItem, ...] = ()


class PurchaseStateContext(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    purchase_state: str = ""


class ProductOfferDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    quantity: int | None = None
    refundable_quantity: int | None = None
    consumption_state: str = ""


class ProductLineItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    product_id: str
    product_offer_details: ProductOfferDetails | None = None


class ProductPurchase(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """ProductPurchaseV2."""

    order_id: str | None = None
    purchase_state_context: PurchaseStateContext | None = None
    purchase_completion_time: str | None = None
    acknowledgement_state: str = ""
    region_code: str | None = None
    obfuscated_external_account_id: str | None = None
    test_purchase_context: Present | None = None
    product_line_item: tuple[ProductLineItem, ...] = ()


class ProrationPeriodDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    original_offer_phase: str = ""


class OfferPhaseDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    base_details: Present | None = None
    free_trial_details: Present | None = None
    introductory_price_details: Present | None = None
    proration_period_details: ProrationPeriodDetails | None = None


class SubscriptionDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    base_plan_id: str | None = None
    offer_id: str | None = None
    offer_phase: str = ""
    offer_phase_details: OfferPhaseDetails | None = None
    service_period_start_time: str | None = None
    service_period_end_time: str | None = None


class OrderLineItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    product_id: str = ""
    total: Money | None = None
    tax: Money | None = None
    subscription_details: SubscriptionDetails | None = None


class RefundDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    total: Money | None = None
    tax: Money | None = None


class RefundEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    event_time: str | None = None
    refund_details: RefundDetails | None = None


class PartialRefundEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    create_time: str | None = None
    process_time: str | None = None
    refund_details: RefundDetails | None = None


class OrderHistory(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    refund_event: RefundEvent | None = None
    partial_refund_events: tuple[PartialRefundEvent, ...] = ()


class OrderDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    tax_inclusive: bool = False


class Order(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    order_id: str
    purchase_token: str = ""
    state: str = ""
    create_time: str | None = None
    total: Money | None = None
    tax: Money | None = None
    developer_revenue_in_buyer_currency: Money | None = None
    order_details: OrderDetails | None = None
    order_history: OrderHistory | None = None
    line_items: tuple[OrderLineItem, ...] = ()


class BatchGetOrders(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    orders: tuple[Order, ...] = ()


class VoidedPurchase(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    purchase_token: str
    order_id: str = ""
    voided_time_millis: str = "0"
    voided_reason: int = 0
    voided_quantity: int | None = None


class TokenPagination(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    next_page_token: str | None = None


class VoidedPurchases(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    voided_purchases: tuple[VoidedPurchase, ...] = ()
    token_pagination: TokenPagination | None = None


class AutoRenewingBasePlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    billing_period_duration: str = ""


class BasePlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    base_plan_id: str = ""
    auto_renewing_base_plan_type: AutoRenewingBasePlan | None = None
    prepaid_base_plan_type: AutoRenewingBasePlan | None = None


class CatalogueSubscription(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Subscription of the catalogue (monetization.subscriptions)."""

    base_plans: tuple[BasePlan, ...] = ()
