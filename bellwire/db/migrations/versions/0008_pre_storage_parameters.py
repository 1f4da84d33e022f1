"""How PostgreSQL stores and cleans the tables in which rows change or go all the time.

Revision 0008, pre: nothing but storage. With the server's defaults a table is cleaned when a fifth of it is dead: for a
queue that is far too late, and for a large table far too much at once. `vacuum_truncate` off: giving pages at the end
of the file back needs a lock that writers would wait for, and a queue needs the pages again anyway.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_QUEUE = (
    "fillfactor = 80, vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000, "
    "autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 2000, autovacuum_vacuum_cost_delay = 1"
)
_SMALL = (
    "fillfactor = 50, vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200, "
    "autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 500"
)
_STATE = (
    "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, "
    "autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 5000"
)
PARAMETERS = {
    "outbox": _QUEUE,
    "lane_states": _SMALL,
    "lane_counts": _SMALL,
    "customers": _STATE,
    "app_user_ids": _STATE,
    "chains": _STATE,
    "periods": _STATE,
    "inbox": _STATE,
}


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, parameters in PARAMETERS.items():
        op.execute(f"ALTER TABLE {table} SET ({parameters})")
