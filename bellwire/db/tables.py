"""The schema, once for both databases (architecture D1). Times are integer milliseconds UTC, money integer micros.

JSON and other text that must stay as it came is TEXT or BLOB, never a JSON type (style 5). Rows that are looked up by
what people type carry the project's id, and every query names it.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Serial = BigInteger().with_variant(Integer, "sqlite")
"""An auto-incremented key: SQLite only counts up by itself in an INTEGER primary key."""

projects = Table(
    "projects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

apps = Table(
    "apps",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False, index=True),
    Column("store", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("token", Text, nullable=False, unique=True),
    Column("previous_token", Text, unique=True),
    Column("config", Text, nullable=False),
    Column("sealed_secrets", LargeBinary, nullable=False),
    Column("track_new_purchases", Boolean, nullable=False),
    Column("small_business_from_ms", BigInteger),
    Column("small_business_until_ms", BigInteger),
    Column("credential_status", Text, nullable=False),
    Column("credential_message", Text, nullable=False, server_default=""),
    Column("credential_checked_at_ms", BigInteger),
    Column("last_notification_at_ms", BigInteger),
    Column("recovered_until_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False, index=True),
    Column("app_id", Text, ForeignKey("apps.id")),
    Column("kind", Text, nullable=False),  # public | secret
    Column("name", Text, nullable=False),
    Column("key_hash", Text, nullable=False, unique=True),  # SHA-256 hex of the whole key
    Column("hint", Text, nullable=False),  # prefix and last four characters
    Column("sealed_key", LargeBinary),  # public keys only: they can be shown again
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),  # Argon2id
    Column("created_at_ms", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),  # SHA-256 hex of the cookie
    Column("user_id", Text, ForeignKey("users.id"), nullable=False),
    Column("csrf_token", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
)

products = Table(
    "products",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("product_key", Text, nullable=False),  # as events spell it
    Column("product_type", Text, nullable=False),
    Column("display_name", Text, nullable=False, server_default=""),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("project_id", "product_key"),
)

entitlements = Table(
    "entitlements",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("identifier", Text, nullable=False),
    Column("display_name", Text, nullable=False, server_default=""),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("project_id", "identifier"),
)

product_entitlements = Table(
    "product_entitlements",
    metadata,
    Column("product_id", Text, ForeignKey("products.id", ondelete="CASCADE"), nullable=False),
    Column("entitlement_id", Text, ForeignKey("entitlements.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("product_id", "entitlement_id"),
)

notices = Table(
    "notices",
    metadata,
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("kind", Text, nullable=False),  # unknown_product, ...
    Column("subject", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("project_id", "kind", "subject"),
)

config_version = Table(
    "config_version",
    metadata,
    Column("id", Integer, primary_key=True),  # one row, id 1
    Column("version", BigInteger, nullable=False),
)
"""Counts changes of projects, apps, catalogue and integrations, so that every process knows when to reload them."""

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("node", Integer, nullable=False, unique=True),  # the process part of the row ids it makes (kit.ids)
    Column("role", Text, nullable=False),  # all | web | worker
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
)
"""Processes that run on this database; each says every few seconds that it is there, and the dead age out."""

schema_revisions = Table(
    "schema_revisions",
    metadata,
    Column("revision", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # pre | post
    Column("version", Text, nullable=False),  # of Bellwire, that applied it
    Column("applied_at_ms", BigInteger, nullable=False),
)
"""What `bellwire.db.migrate` applied: an older version may still start while only `pre` revisions are new to it."""

exchange_rates = Table(
    "exchange_rates",
    metadata,
    Column("currency", Text, nullable=False),
    Column("date", Text, nullable=False),  # ISO date, UTC
    Column("usd_micros", BigInteger, nullable=False),  # micro-USD for one unit of the currency
    Column("source", Text, nullable=False),
    PrimaryKeyConstraint("currency", "date"),
)

customers = Table(
    "customers",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("original_app_user_id", Text, nullable=False),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("country", Text),
    Column("platform", Text),
    Column("app_version", Text),
    Column("next_sequence", BigInteger, nullable=False),
    Index("ix_customers_project_last_seen", "project_id", "last_seen_ms"),
)

app_user_ids = Table(
    "app_user_ids",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("app_user_id", Text, nullable=False),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("project_id", "app_user_id"),
)

attributes = Table(
    "attributes",
    metadata,
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Text),  # null = tombstone
    Column("updated_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("customer_id", "name"),
)

chains = Table(
    "chains",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("app_id", Text, ForeignKey("apps.id")),
    Column("store", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("store_key", Text, nullable=False),
    Column("original_transaction_id", Text, nullable=False),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("product_type", Text, nullable=False),
    Column("product_key", Text),  # of the latest period
    Column("state", Text, nullable=False),  # derived, for lists and charts
    Column("expires_at_ms", BigInteger),
    Column("access_until_ms", BigInteger),
    Column("flags", Text, nullable=False),  # the fields of model.purchases.Chain that no query filters on, as JSON
    Column(
        "raw", Text, nullable=False, server_default=""
    ),  # no longer written: what stores said is in the inbox; goes in 0.3
    Column("as_of_ms", BigInteger, nullable=False),
    Column("last_pull_at_ms", BigInteger),
    Column("next_check_at_ms", BigInteger),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("app_id", "environment", "store_key"),
    Index(
        "ix_chains_next_check",
        "next_check_at_ms",
        sqlite_where=text("next_check_at_ms IS NOT NULL"),
        postgresql_where=text("next_check_at_ms IS NOT NULL"),
    ),
)

chain_keys = Table(
    "chain_keys",
    metadata,
    Column("app_id", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("store_key", Text, nullable=False),
    Column("chain_id", BigInteger, ForeignKey("chains.id"), nullable=False, index=True),
    PrimaryKeyConstraint("app_id", "environment", "store_key"),
)
"""Older store keys under which a chain is still asked for (Google deferred replacement)."""

periods = Table(
    "periods",
    metadata,
    Column("chain_id", BigInteger, ForeignKey("chains.id"), nullable=False),
    Column("period_key", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("plan_id", Text),
    Column("period_type", Text, nullable=False),
    Column("purchased_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("price_micros", BigInteger),
    Column("currency", Text),
    Column("price_usd_micros", BigInteger),
    Column("price_assumed", Boolean, nullable=False),
    Column("tax_ppm", Integer),
    Column("commission_ppm", Integer),
    Column("takehome_ppm", Integer),
    Column("country", Text),
    Column("offer_code", Text),
    Column("offer_type", Text),
    Column("is_trial_conversion", Boolean, nullable=False),
    Column("refunded_at_ms", BigInteger),
    Column("refund_micros", BigInteger),
    Column("refund_revokes", Boolean, nullable=False),
    Column("refund_count", Integer, nullable=False),
    Column("refund_as_of_ms", BigInteger, nullable=False),
    Column("family_revoked", Boolean, nullable=False),
    Column("quantity", Integer),
    Column("items", Text),
    Column("historical", Boolean, nullable=False),
    PrimaryKeyConstraint("chain_id", "period_key"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", Text, nullable=False),
    Column("app_id", Text, nullable=False),
    Column("store", Text, nullable=False),
    Column("kind", Text, nullable=False),  # notification | receipt | pull
    Column("dedup_key", Text, nullable=False),
    Column("type", Text),
    Column("subtype", Text),
    Column("environment", Text),
    Column("store_key", Text),
    Column("occurred_at_ms", BigInteger),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    # received | processed | ignored_unknown_purchase | ignored_type | rejected | failed
    Column("error", Text),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at_ms", BigInteger),
    Column("processed_at_ms", BigInteger),
    Column("event_count", Integer, nullable=False, server_default="0"),
    UniqueConstraint("app_id", "dedup_key"),
    Index(
        "ix_inbox_open",
        "next_attempt_at_ms",
        sqlite_where=text("status = 'received'"),
        postgresql_where=text("status = 'received'"),
    ),
    Index("ix_inbox_app_received", "app_id", "received_at_ms"),
)
"""What came in, and what became of it: narrow, since it is kept for ever and keeps out what comes twice."""

inbox_bodies = Table(
    "inbox_bodies",
    metadata,
    Column("inbox_id", Serial, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    Column("headers", Text, nullable=False),  # JSON, without credentials
    postgresql_partition_by="RANGE (inbox_id)",  # see db.partitions
)
"""The bytes that came, until they age out."""

events = Table(
    "events",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("app_id", Text),
    Column("customer_id", BigInteger, nullable=False, index=True),
    Column("chain_id", BigInteger),
    Column("type", Text, nullable=False),
    Column("environment", Text),
    Column("store", Text),
    Column("app_user_id", Text),
    Column("event_timestamp_ms", BigInteger, nullable=False),
    Column("store_time_ms", BigInteger),
    Column("received_at_ms", BigInteger),
    Column("committed_at_ms", BigInteger, nullable=False),
    Column("dispatched", Boolean, nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("price_usd_micros", BigInteger),
    Column("payload", LargeBinary, nullable=False),  # the `event` object, as sent
    Index("ix_events_project_seq", "project_id", "seq"),
    sqlite_autoincrement=True,
)

integrations = Table(
    "integrations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False, index=True),
    Column("destination", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("settings", Text, nullable=False),  # without secrets
    Column("sealed_secrets", LargeBinary, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("environment", Text),
    Column("app_id", Text),
    Column("event_types", Text),  # JSON array or null
    Column("order_wait_ms", BigInteger),
    Column("concurrency", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("deleted_at_ms", BigInteger),
    Column("rate_per_s", Float),  # null = no limit of its own
    Column("rate_burst", Integer),
)

lane_states = Table(
    "lane_states",
    metadata,
    Column("integration_id", Text, ForeignKey("integrations.id"), primary_key=True),
    Column("breaker", Text, nullable=False, server_default="closed"),  # closed | open | half_open
    Column("breaker_since_ms", BigInteger),  # when it left or came back to closed
    Column("openings", Integer, nullable=False, server_default="0"),  # running, without a success between them
    Column("next_probe_at_ms", BigInteger),
    Column("blocked_until_ms", BigInteger),  # the destination asked for it (Retry-After)
    Column("failing_since_ms", BigInteger),  # nothing but failures since then
    Column("failures", Integer, nullable=False, server_default="0"),  # since then
    Column("last_success_at_ms", BigInteger),
    Column("last_failure_at_ms", BigInteger),
    Column("last_failure", Text, nullable=False, server_default=""),  # in words
    Column("paused_at_ms", BigInteger),
    Column("paused_reason", Text, nullable=False, server_default=""),
)
"""What all processes must know of an integration's lane; there is no row before there is something to tell."""

lane_counts = Table(
    "lane_counts",
    metadata,
    Column("integration_id", Text, ForeignKey("integrations.id"), nullable=False),
    Column("slot_ms", BigInteger, nullable=False),  # begin of ten minutes
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    PrimaryKeyConstraint("integration_id", "slot_ms"),
)
"""How many attempts there were and how many failed: what is usual for a lane is told from the last week."""

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),  # email | slack | webhook
    Column("settings", Text, nullable=False),  # without secrets
    Column("sealed_secrets", LargeBinary, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("kind", Text, nullable=False),  # paused, breaker_open, ...
    Column("subject", Text, nullable=False),  # id of an integration or app
    Column("message", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("over_at_ms", BigInteger),  # null = it goes on
    Column("told_at_ms", BigInteger),  # the once-a-day mark
    PrimaryKeyConstraint("project_id", "kind", "subject"),
)
"""Matters that the team is told of; a row outlives its matter, so that one that comes back is not told twice a day."""

alert_sends = Table(
    "alert_sends",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("channel_id", Text, ForeignKey("alert_channels.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("message", Text, nullable=False),  # what is to be told, as JSON
    Column("created_at_ms", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),  # begun so far
    Column("due_at_ms", BigInteger, nullable=False, index=True),
)
"""Messages that no channel has taken yet, written with the mark of their matter."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("integration_id", Text, nullable=False),
    Column("event_seq", BigInteger, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),  # 0 due, 1 leased, 2 parked
    Column("attempt", Integer, nullable=False),  # attempts made so far
    Column("manual", Boolean, nullable=False),  # the next attempt was asked for by hand
    Column("due_at_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("lease_until_ms", BigInteger),
    Column("lease", BigInteger),  # fencing token of the claim
    Column("late", Boolean, nullable=False, server_default=false()),  # a retry or a replay: fresh events go before it
    Column("replay_id", Text),  # the replay that asked for it
    UniqueConstraint("integration_id", "event_seq"),
    Index("ix_outbox_class", "integration_id", "state", "late", "due_at_ms", "id"),
    Index("ix_outbox_customer", "customer_id", "id"),
    Index(
        "ix_outbox_replay",
        "replay_id",
        "state",
        sqlite_where=text("replay_id IS NOT NULL"),
        postgresql_where=text("replay_id IS NOT NULL"),
    ),
    Index(
        "ix_outbox_parked",
        "integration_id",
        "id",
        sqlite_where=text("state = 2"),
        postgresql_where=text("state = 2"),
    ),
    sqlite_autoincrement=True,
)

replays = Table(
    "replays",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("integration_id", Text, ForeignKey("integrations.id"), nullable=False),
    Column("selection", Text, nullable=False),  # which deliveries, as JSON
    Column("status", Text, nullable=False),  # waiting | running | done | cancelled | failed
    Column("message", Text, nullable=False, server_default=""),  # what it waits for or failed at, in words
    Column("rate_per_s", Float),  # null = as fast as the lane takes it
    Column("total", BigInteger, nullable=False),  # selected when it was made
    Column("cursor", BigInteger, nullable=False),  # everything up to here is put out
    Column("last", BigInteger, nullable=False),  # the end of what is selected
    Column("enqueued", BigInteger, nullable=False, server_default="0"),
    Column("passed_over", BigInteger, nullable=False, server_default="0"),  # were waiting anyhow
    Column("delivered", BigInteger, nullable=False, server_default="0"),
    Column("skipped", BigInteger, nullable=False, server_default="0"),
    Column("paced_at_ms", BigInteger, nullable=False, server_default="0"),  # up to then the rate is used up
    Column("created_by", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("started_at_ms", BigInteger),
    Column("ended_at_ms", BigInteger),
    UniqueConstraint("project_id", "idempotency_key"),
    Index("ix_replays_project", "project_id", "created_at_ms"),
    Index(
        "ix_replays_open",
        "id",
        sqlite_where=text("ended_at_ms IS NULL"),
        postgresql_where=text("ended_at_ms IS NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=False),  # kit.ids.new_row_id: sorts by time
    Column("project_id", Text, nullable=False),
    Column("integration_id", Text, nullable=False),
    Column("event_seq", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("app_user_id", Text),
    Column("environment", Text),
    Column("attempt", Integer, nullable=False),
    Column("trigger", Text, nullable=False),  # automatic | manual | test | replay
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),  # in words
    Column("status_code", Integer),
    Column("error", Text),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("timings", Text, nullable=False),
    Column("next_attempt_at_ms", BigInteger),
    Column("parked", Boolean, nullable=False),
    Column("request_method", Text),
    Column("request_url", Text),
    Column("request_headers", Text),  # secrets masked
    Column("request_body", LargeBinary),
    Column("response_headers", Text),
    Column("response_body", LargeBinary),
    Column("response_truncated", Boolean, nullable=False),
    Index("ix_attempts_integration", "integration_id", "id"),
    Index("ix_attempts_event", "event_seq", "integration_id", "id"),
    Index("ix_attempts_project", "project_id", "id"),
    postgresql_partition_by="RANGE (id)",  # see db.partitions
)
