"""How fast a full outbox drains: claimed, sent to a C sink, classified, recorded. All of delivery, nothing else."""

import asyncio
import time

import msgspec
import sqlalchemy as sa
import uvloop

from bellwire.app import Hub, configure_logging
from bellwire.db import tables
from bellwire.model.enums import Environment, EventType, PeriodType, Store
from bellwire.model.events import Event, WireAttribute
from bench.installation import Installation, Stores, installation, stores
from bench.processes import nginx
from bench.sample import BODY_BYTES

POLL_S = 0.02
LONGEST_S = 120


def measure(of: Stores, count: int) -> float:
    """Deliveries a second over `count` rows of as many customers."""
    with nginx() as sink, installation(of, sink) as installed:
        return uvloop.run(_drain(installed, count))


async def _drain(installed: Installation, count: int) -> float:
    configure_logging(installed.settings)
    hub = Hub(installed.settings)
    _fill(hub, installed, count)
    running = asyncio.create_task(hub.delivery.run())
    started = time.perf_counter()
    while await asyncio.to_thread(waiting, hub.read_engine):
        if time.perf_counter() - started > LONGEST_S:
            raise RuntimeError(f"the outbox was not empty after {LONGEST_S} s")
        await asyncio.sleep(POLL_S)
    took_s = time.perf_counter() - started
    hub.delivery.stop()
    await running
    delivered = await asyncio.to_thread(attempts_delivered, hub.read_engine)
    await hub.client.close()
    hub.writer.close()
    hub.engine.dispose()
    if delivered != count:
        raise RuntimeError(f"{delivered} of {count} were delivered")
    return count / took_s


def waiting(engine: sa.Engine) -> int:
    """Whether the outbox holds anything: 1 or 0."""
    with engine.connect() as connection:
        return connection.execute(
            sa.select(sa.func.count()).select_from(sa.select(tables.outbox.c.id).limit(1).subquery())
        ).scalar_one()


def attempts_delivered(engine: sa.Engine) -> int:
    """How many attempts ended well."""
    with engine.connect() as connection:
        counted = sa.select(sa.func.count()).where(tables.attempts.c.outcome == "delivered")
        return connection.execute(counted).scalar_one()


def _fill(hub: Hub, installed: Installation, count: int) -> None:
    project_id = installed.apple.project_id
    integration = hub.config.current().integrations_of(project_id)[0]
    now_ms = time.time_ns() // 1_000_000
    rows = [_event(installed, number) for number in range(1, count + 1)]
    with hub.engine.begin() as connection:
        connection.execute(
            sa.insert(tables.events),
            [
                {
                    "seq": number,
                    "id": event.id,
                    "project_id": project_id,
                    "app_id": installed.apple.id,
                    "customer_id": number,
                    "type": event.type.value,
                    "environment": "PRODUCTION",
                    "store": "APP_STORE",
                    "app_user_id": f"customer-{number}",
                    "event_timestamp_ms": now_ms,
                    "committed_at_ms": now_ms,
                    "dispatched": True,
                    "historical": False,
                    "payload": msgspec.json.encode(event),
                }
                for number, event in enumerate(rows, 1)
            ],
        )
        connection.execute(
            sa.insert(tables.outbox),
            [
                {
                    "integration_id": integration.id,
                    "event_seq": number,
                    "customer_id": number,
                    "state": 0,
                    "attempt": 0,
                    "manual": False,
                    "due_at_ms": now_ms,
                    "created_at_ms": now_ms,
                }
                for number in range(1, count + 1)
            ],
        )


def _event(installed: Installation, number: int) -> Event:
    """A renewal of the size that R2 posts."""
    event = Event(
        type=EventType.RENEWAL,
        id=f"00000000-0000-5000-8000-{number:012d}",
        event_timestamp_ms=1_790_000_000_000,
        app_id=installed.apple.id,
        app_user_id=f"customer-{number}",
        original_app_user_id=f"customer-{number}",
        aliases=[f"customer-{number}"],
        product_id="pro_monthly",
        period_type=PeriodType.NORMAL,
        purchased_at_ms=1_790_000_000_000,
        expiration_at_ms=1_792_592_000_000,
        environment=Environment.PRODUCTION,
        store=Store.APP_STORE,
        entitlement_ids=["pro"],
        price=9.99,
        price_in_purchased_currency=9.99,
        currency="USD",
        subscriber_attributes={},
    )
    padding = BODY_BYTES - len(msgspec.json.encode(event)) - 100
    attribute = WireAttribute(value="x" * padding, updated_at_ms=1_790_000_000_000)
    return msgspec.structs.replace(event, subscriber_attributes={"note": attribute})


if __name__ == "__main__":
    with stores(10) as of:
        print(f"deliver {measure(of, 5_000):.0f} deliveries/s")
