"""Everything under `/v2`, for servers with a secret key (spec: api 4)."""

from bellwire.kit.endpoints import Surface
from bellwire.web.answers import note_answers
from bellwire.web.limits import InboundLimits
from bellwire.web.rest import parked, replays
from bellwire.web.rest.door import Handler, endpoint
from bellwire.web.rest.errors import error_body, translate
from bellwire.web.services import Services

PREFIX = "/v2"

ENDPOINTS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/replays/preview", replays.preview_replay),
    ("POST", "/replays", replays.create_replay),
    ("GET", "/replays", replays.list_all),
    ("GET", "/replays/{replay_id}", replays.get_replay),
    ("POST", "/replays/{replay_id}/actions/cancel", replays.cancel),
    ("GET", "/parked_deliveries", parked.list_all),
    ("GET", "/parked_deliveries/{delivery_id}", parked.get_one),
    ("POST", "/parked_deliveries/{delivery_id}/actions/retry", parked.retry_one),
    ("POST", "/parked_deliveries/{delivery_id}/actions/discard", parked.discard_one),
    ("POST", "/parked_deliveries/actions/retry", parked.retry_many),
    ("POST", "/parked_deliveries/actions/discard", parked.discard_many),
)
"""Below `/v2/projects/{project_id}`."""


def rest_surface(services: Services, limits: InboundLimits) -> Surface:
    """One surface for all of it."""
    return Surface(
        PREFIX,
        [endpoint(services, limits, method, path, handler) for method, path, handler in ENDPOINTS],
        error_body=error_body,
        translate=translate,
        stamp=lambda: {"Cache-Control": "no-store"},
        note=note_answers(PREFIX),
        max_body_bytes=services.settings.max_body_bytes,
    )
