"""One event with everywhere it went, and one customer with everything that happened to them."""

from starlette.responses import Response

from bellwire.db.browse import load_event, load_events_of_customer
from bellwire.db.customers import load_customers
from bellwire.db.deliveries import load_deliveries_of_event
from bellwire.db.purchases import load_chains_of
from bellwire.engine.access import access_until_ms, active_entitlements, chain_state
from bellwire.kit.ids import read_row_id
from bellwire.web.dashboard.bodies import read_body
from bellwire.web.dashboard.caller import Caller, NotFound
from bellwire.web.dashboard.feed_pages import stages
from bellwire.web.dashboard.lines import STORE_WORDS, Namer, tone
from bellwire.web.dashboard.render import page


def show_event(caller: Caller) -> Response:
    """GET /projects/{id}/events/{event_id}."""
    project = caller.project()
    with caller.reading() as connection:
        event = load_event(connection, project.id, caller.path("event_id"))
        if event is None:
            raise NotFound("This project has no such event.")
        rows = load_deliveries_of_event(connection, project.id, event.seq)
        lines = Namer(connection, project.id, caller.apps()).lines(rows)
    apps = {app.id: app.name for app in caller.apps()}
    values = {
        "here": "feed",
        "event": event,
        "tone": tone(event.type),
        "app": apps.get(event.app_id or "", STORE_WORDS.get(event.store or "", "")),
        "body": read_body(event.payload),
        "stages": stages(event, None),
        "lines": lines,
    }
    return page(caller, "event.html", values)


def show_customer(caller: Caller) -> Response:
    """GET /projects/{id}/customers/{customer_id}."""
    project = caller.project()
    customer_id = read_row_id(caller.path("customer_id"))
    if customer_id is None:
        raise NotFound("This project has no such customer.")
    with caller.reading() as connection:
        found = [one for one in load_customers(connection, [customer_id]) if one.project_id == project.id]
        if not found:
            raise NotFound("This project has no such customer.")
        customer = found[0]
        chains = load_chains_of(connection, [customer.id])
        events = load_events_of_customer(connection, project.id, customer.id)
    at_ms = caller.services.clock.now_ms()
    purchases = [
        (chain, chain_state(chain, at_ms).value, access_until_ms(chain), STORE_WORDS.get(chain.store, chain.store))
        for chain in sorted(chains, key=lambda chain: chain.started_at_ms or 0, reverse=True)
    ]
    catalogue = caller.services.config.current().catalogue(project.id)
    values = {
        "here": "feed",
        "customer": customer,
        "attributes": [(name, one) for name, one in sorted(customer.attributes.items()) if one.value is not None],
        "entitlements": sorted(active_entitlements(tuple(chains), catalogue, project.settings, at_ms)),
        "purchases": purchases,
        "events": [(event, tone(event.type), STORE_WORDS.get(event.store or "", "")) for event in events],
        "domain_now": at_ms,
    }
    return page(caller, "customer.html", values)
