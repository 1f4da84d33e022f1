"""The first schema.

Revision 0001, pre: nothing runs before it. Written once and never edited after a release; `tables.py` says what the
columns mean.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )
    op.create_table(
        "apps",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("previous_token", sa.Text()),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("sealed_secrets", sa.LargeBinary(), nullable=False),
        sa.Column("track_new_purchases", sa.Boolean(), nullable=False),
        sa.Column("small_business_from_ms", sa.BigInteger()),
        sa.Column("small_business_until_ms", sa.BigInteger()),
        sa.Column("credential_status", sa.Text(), nullable=False),
        sa.Column("credential_message", sa.Text(), server_default="", nullable=False),
        sa.Column("credential_checked_at_ms", sa.BigInteger()),
        sa.Column("last_notification_at_ms", sa.BigInteger()),
        sa.Column("recovered_until_ms", sa.BigInteger()),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_apps_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_apps"),
        sa.UniqueConstraint("previous_token", name="uq_apps_previous_token"),
        sa.UniqueConstraint("token", name="uq_apps_token"),
    )
    op.create_index("ix_apps_project_id", "apps", ["project_id"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary()),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name="fk_api_keys_app_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_api_keys_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("csrf_token", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sessions"),
    )
    op.create_table(
        "products",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("product_key", sa.Text(), nullable=False),
        sa.Column("product_type", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_products_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_products"),
        sa.UniqueConstraint("project_id", "product_key", name="uq_products_project_id_product_key"),
    )
    op.create_table(
        "entitlements",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_entitlements_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_entitlements"),
        sa.UniqueConstraint("project_id", "identifier", name="uq_entitlements_project_id_identifier"),
    )
    op.create_table(
        "product_entitlements",
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("entitlement_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entitlement_id"], ["entitlements.id"], name="fk_product_entitlements_entitlement_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name="fk_product_entitlements_product_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("product_id", "entitlement_id", name="pk_product_entitlements"),
    )
    op.create_table(
        "notices",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_notices_project_id"),
        sa.PrimaryKeyConstraint("project_id", "kind", "subject", name="pk_notices"),
    )
    op.create_table(
        "config_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_config_version"),
    )
    op.create_table(
        "exchange_rates",
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("date", sa.Text(), nullable=False),
        sa.Column("usd_micros", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("currency", "date", name="pk_exchange_rates"),
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("original_app_user_id", sa.Text(), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("country", sa.Text()),
        sa.Column("platform", sa.Text()),
        sa.Column("app_version", sa.Text()),
        sa.Column("next_sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_customers_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_customers"),
    )
    op.create_index("ix_customers_project_last_seen", "customers", ["project_id", "last_seen_ms"])
    op.create_table(
        "app_user_ids",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("app_user_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_app_user_ids_customer_id"),
        sa.PrimaryKeyConstraint("project_id", "app_user_id", name="pk_app_user_ids"),
    )
    op.create_index("ix_app_user_ids_customer_id", "app_user_ids", ["customer_id"])
    op.create_table(
        "attributes",
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text()),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_attributes_customer_id"),
        sa.PrimaryKeyConstraint("customer_id", "name", name="pk_attributes"),
    )
    op.create_table(
        "chains",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text()),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("store_key", sa.Text(), nullable=False),
        sa.Column("original_transaction_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("product_type", sa.Text(), nullable=False),
        sa.Column("product_key", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger()),
        sa.Column("access_until_ms", sa.BigInteger()),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), server_default="", nullable=False),
        sa.Column("as_of_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_pull_at_ms", sa.BigInteger()),
        sa.Column("next_check_at_ms", sa.BigInteger()),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name="fk_chains_app_id"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_chains_customer_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_chains_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_chains"),
        sa.UniqueConstraint("app_id", "environment", "store_key", name="uq_chains_app_id_environment_store_key"),
    )
    op.create_index("ix_chains_customer_id", "chains", ["customer_id"])
    op.create_index(
        "ix_chains_next_check",
        "chains",
        ["next_check_at_ms"],
        sqlite_where=sa.text("next_check_at_ms IS NOT NULL"),
        postgresql_where=sa.text("next_check_at_ms IS NOT NULL"),
    )
    op.create_table(
        "chain_keys",
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("store_key", sa.Text(), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["chain_id"], ["chains.id"], name="fk_chain_keys_chain_id"),
        sa.PrimaryKeyConstraint("app_id", "environment", "store_key", name="pk_chain_keys"),
    )
    op.create_index("ix_chain_keys_chain_id", "chain_keys", ["chain_id"])
    op.create_table(
        "periods",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("period_key", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Text()),
        sa.Column("period_type", sa.Text(), nullable=False),
        sa.Column("purchased_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger()),
        sa.Column("price_micros", sa.BigInteger()),
        sa.Column("currency", sa.Text()),
        sa.Column("price_usd_micros", sa.BigInteger()),
        sa.Column("price_assumed", sa.Boolean(), nullable=False),
        sa.Column("tax_ppm", sa.Integer()),
        sa.Column("commission_ppm", sa.Integer()),
        sa.Column("takehome_ppm", sa.Integer()),
        sa.Column("country", sa.Text()),
        sa.Column("offer_code", sa.Text()),
        sa.Column("offer_type", sa.Text()),
        sa.Column("is_trial_conversion", sa.Boolean(), nullable=False),
        sa.Column("refunded_at_ms", sa.BigInteger()),
        sa.Column("refund_micros", sa.BigInteger()),
        sa.Column("refund_revokes", sa.Boolean(), nullable=False),
        sa.Column("refund_count", sa.Integer(), nullable=False),
        sa.Column("refund_as_of_ms", sa.BigInteger(), nullable=False),
        sa.Column("family_revoked", sa.Boolean(), nullable=False),
        sa.Column("quantity", sa.Integer()),
        sa.Column("items", sa.Text()),
        sa.Column("historical", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["chain_id"], ["chains.id"], name="fk_periods_chain_id"),
        sa.PrimaryKeyConstraint("chain_id", "period_key", name="pk_periods"),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dedup_key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text()),
        sa.Column("subtype", sa.Text()),
        sa.Column("environment", sa.Text()),
        sa.Column("store_key", sa.Text()),
        sa.Column("occurred_at_ms", sa.BigInteger()),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger()),
        sa.Column("processed_at_ms", sa.BigInteger()),
        sa.Column("event_count", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_inbox"),
        sa.UniqueConstraint("app_id", "dedup_key", name="uq_inbox_app_id_dedup_key"),
    )
    op.create_index("ix_inbox_app_received", "inbox", ["app_id", "received_at_ms"])
    op.create_index(
        "ix_inbox_open",
        "inbox",
        ["next_attempt_at_ms"],
        sqlite_where=sa.text("status = 'received'"),
        postgresql_where=sa.text("status = 'received'"),
    )
    op.create_table(
        "events",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text()),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("chain_id", sa.BigInteger()),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text()),
        sa.Column("store", sa.Text()),
        sa.Column("app_user_id", sa.Text()),
        sa.Column("event_timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("store_time_ms", sa.BigInteger()),
        sa.Column("received_at_ms", sa.BigInteger()),
        sa.Column("committed_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("dispatched", sa.Boolean(), nullable=False),
        sa.Column("historical", sa.Boolean(), nullable=False),
        sa.Column("price_usd_micros", sa.BigInteger()),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_events_project_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sa.UniqueConstraint("id", name="uq_events_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_customer_id", "events", ["customer_id"])
    op.create_index("ix_events_project_seq", "events", ["project_id", "seq"])
    op.create_table(
        "integrations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("sealed_secrets", sa.LargeBinary(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("environment", sa.Text()),
        sa.Column("app_id", sa.Text()),
        sa.Column("event_types", sa.Text()),
        sa.Column("order_wait_ms", sa.BigInteger()),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_integrations_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_integrations"),
    )
    op.create_index("ix_integrations_project_id", "integrations", ["project_id"])
    op.create_table(
        "outbox",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("integration_id", sa.Text(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("manual", sa.Boolean(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger()),
        sa.Column("lease", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("integration_id", "event_seq", name="uq_outbox_integration_id_event_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_customer", "outbox", ["integration_id", "customer_id", "id"])
    op.create_index("ix_outbox_due", "outbox", ["integration_id", "state", "due_at_ms"])
    op.create_index(
        "ix_outbox_retries",
        "outbox",
        ["integration_id", "state", "due_at_ms"],
        sqlite_where=sa.text("attempt > 0"),
        postgresql_where=sa.text("attempt > 0"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("integration_id", sa.Text(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("app_user_id", sa.Text()),
        sa.Column("environment", sa.Text()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("timings", sa.Text(), nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger()),
        sa.Column("parked", sa.Boolean(), nullable=False),
        sa.Column("request_method", sa.Text()),
        sa.Column("request_url", sa.Text()),
        sa.Column("request_headers", sa.Text()),
        sa.Column("request_body", sa.LargeBinary()),
        sa.Column("response_headers", sa.Text()),
        sa.Column("response_body", sa.LargeBinary()),
        sa.Column("response_truncated", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_attempts_event", "attempts", ["event_seq", "integration_id", "id"])
    op.create_index("ix_attempts_integration", "attempts", ["integration_id", "id"])
    op.create_index("ix_attempts_project", "attempts", ["project_id", "id"])
