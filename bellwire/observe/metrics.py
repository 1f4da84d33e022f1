"""Every metric of the hub, declared once; `docs/reference/metrics.md` is written from here.

Labels have few values, all known beforehand: destinations, stores, outcomes, integrations as configured. Never a
customer, an event or anything that a stranger chooses.
"""

from bellwire.kit.metrics import Counter, Gauge, Histogram

_STAGE_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000)
_WORK_MS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)

# ---- the stages of an event, in the order in which it lives through them

STORE_TO_RECEIVED = Histogram(
    "bellwire_store_to_received_seconds",
    "From the store's own time of what happened until the hub had heard of it, for each event.",
    ("store",),
    bounds=(*_STAGE_MS, 86_400_000),
    scale=1000,
)
RECEIVED_TO_COMMITTED = Histogram(
    "bellwire_received_to_committed_seconds",
    "From the arrival of a notification or receipt until its event was in the database, for each event.",
    ("store",),
    bounds=_STAGE_MS,
    scale=1000,
)
COMMITTED_TO_SENT = Histogram(
    "bellwire_committed_to_sent_seconds",
    "From the commit of an event until its first request to an integration began; replays are left out.",
    ("destination",),
    bounds=_STAGE_MS,
    scale=1000,
)
SENT_TO_ANSWERED = Histogram(
    "bellwire_sent_to_answered_seconds",
    "From the start of a request to the end of its answer, or of waiting for it; every attempt that was sent.",
    ("destination",),
    bounds=_STAGE_MS,
    scale=1000,
)

# ---- taking in

NOTIFICATIONS = Counter(
    "bellwire_notifications_total",
    "Notifications by what the door did with them: received, duplicate, rejected (not genuine), unverifiable (the store "
    "was answered 503 and will send it again).",
    ("store", "result"),
)
APPLIED = Counter(
    "bellwire_notifications_applied_total",
    "What became of notifications after they were answered: applied, unknown (a purchase that nobody posted), settled "
    "(nothing to apply), postponed, failed.",
    ("store", "result"),
)
RECEIPTS = Counter(
    "bellwire_receipts_total",
    "Posted receipts: applied, pending (payment), refused (the store does not confirm it), credentials (the store "
    "refuses the hub's), unavailable (the store could not be asked).",
    ("store", "result"),
)
EVENTS = Counter("bellwire_events_total", "Events that were committed.", ("store", "type"))
STORE_SECONDS = Histogram(
    "bellwire_store_request_seconds",
    "Requests to the stores' APIs, by the class of the answer's status, or why there was none: dns, connect, tls, timeout, "
    "reset, blocked, invalid_url, protocol.",
    ("store", "result"),
    bounds=_WORK_MS,
    scale=1000,
)
REQUEST_SECONDS = Histogram(
    "bellwire_http_request_seconds",
    "Requests at the doors for stores and SDKs, by the first part of their path and the class of the answer's status.",
    ("door", "status"),
    bounds=_WORK_MS,
    scale=1000,
)

# ---- the database

COMMIT_SECONDS = Histogram(
    "bellwire_commit_seconds",
    "One transaction of the committer, from its beginning until it was durable.",
    bounds=_WORK_MS,
    scale=1000,
)
COMMIT_UNITS = Histogram("bellwire_commit_units", "Units of work that shared one transaction.", bounds=_SIZES)
COMMIT_FAILURES = Counter("bellwire_commit_failures_total", "Transactions that were lost with all their units.")
CONFIG_LOADS = Counter("bellwire_config_loads_total", "How often the configuration was read from the database.")

# ---- delivery

ATTEMPTS = Counter(
    "bellwire_delivery_attempts_total",
    "Attempts by outcome: delivered, retry, rejected, misconfigured, skipped.",
    ("integration", "destination", "outcome"),
)
TRANSPORT_ERRORS = Counter(
    "bellwire_delivery_transport_errors_total",
    "Attempts that got no answer: dns, connect, tls, timeout, reset, blocked, invalid_url, protocol.",
    ("integration", "destination", "error"),
)
PARKED = Counter(
    "bellwire_delivery_parked_total",
    "Deliveries that were given up after their last attempt, and wait for somebody to replay them.",
    ("integration", "destination"),
)
LEASES_EXPIRED = Counter(
    "bellwire_delivery_leases_expired_total",
    "Rows that came back because whoever held them did not finish in time, or was killed.",
)
TURN_SECONDS = Histogram(
    "bellwire_delivery_turn_seconds",
    "One turn of delivery: writing down what ended and claiming what is due, waiting for the committer included.",
    bounds=_WORK_MS,
    scale=1000,
)
TURN_ATTEMPTS = Histogram(
    "bellwire_delivery_turn_attempts", "Attempts that one turn wrote down, turns without any left out.", bounds=_SIZES
)

# ---- gauges, read at the scrape: from this process

BUILD_INFO = Gauge("bellwire_build_info", "Always 1; the labels say what runs.", ("version", "python", "database"))
READY = Gauge("bellwire_ready", "What `/readyz` says: 1 = ready, 0 = not.")
LOOP_LAG = Gauge("bellwire_event_loop_lag_seconds", "How long work that was ready had to wait for the event loop.")
WRITER_QUEUE = Gauge("bellwire_commit_queue", "Units of work that wait for the next transaction.")
POOL = Gauge("bellwire_database_connections", "Connections of this process: in use, or idle in the pool.", ("state",))

# ---- gauges, read at the scrape: from the database, so that every process says the same

BACKLOG_READ = Gauge(
    "bellwire_backlog_read", "1 = the gauges below are from the database; 0 = it did not answer, and they are missing."
)
INTEGRATION_INFO = Gauge(
    "bellwire_integration_info",
    "Always 1; names for the `integration` label of other metrics.",
    ("integration", "destination", "name", "project"),
)
OUTBOX_ROWS = Gauge(
    "bellwire_outbox_rows",
    "Deliveries of an integration: fresh (wait for their first attempt), late (retries and replays), leased (on their "
    "way), parked. Counted up to 250,000.",
    ("integration", "destination", "state"),
)
OUTBOX_AGE = Gauge(
    "bellwire_outbox_oldest_due_seconds",
    "How long the oldest due delivery of an integration has been due; 0 = none is.",
    ("integration", "destination"),
)
LANE_BREAKER = Gauge(
    "bellwire_lane_breaker",
    "Circuit breaker of an integration: 0 = closed, 0.5 = half open (one request decides), 1 = open (nothing is sent).",
    ("integration", "destination"),
)
LANE_PAUSED = Gauge(
    "bellwire_lane_paused",
    "1 = an integration is paused, by a person or after days of nothing but failure.",
    ("integration", "destination"),
)
LANE_FAILING = Gauge(
    "bellwire_lane_failing_seconds",
    "For how long all attempts of an integration have failed; 0 = the last one did not.",
    ("integration", "destination"),
)
REPLAY_DELIVERIES = Gauge(
    "bellwire_replay_deliveries",
    "Replays that run or wait: selected, put_out (into the outbox, or already there), delivered of those.",
    ("integration", "destination", "state"),
)
PROCESSES = Gauge(
    "bellwire_processes", "Processes on this database that have been heard of lately, by what they do.", ("role",)
)
INBOX_OPEN = Gauge(
    "bellwire_inbox_open", "Notifications that are kept and not worked through yet. Counted up to 250,000."
)
INBOX_AGE = Gauge(
    "bellwire_inbox_oldest_due_seconds", "How long the notification that should be worked on first has been due."
)

METRICS: tuple[Counter | Histogram | Gauge, ...] = tuple(
    value for value in dict(globals()).values() if isinstance(value, Counter | Histogram | Gauge)
)
"""In the order of this file."""
