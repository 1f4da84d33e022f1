"""The doors for stores: POST /v1/incoming-webhooks/{store}/{app_token} (spec: stores 1.1-1.3)."""

from bellwire.kit.endpoints import Call, Endpoint, Problem, Reply, Surface
from bellwire.model.projects import App
from bellwire.stores.registry import DECLARATIONS
from bellwire.web.answers import note_answers
from bellwire.web.errors import translate
from bellwire.web.limits import InboundLimits
from bellwire.web.services import Services

PREFIX = "/v1/incoming-webhooks"
_SLUGS = frozenset(declaration.slug for declaration in DECLARATIONS.values())


def notification_surface(services: Services, limits: InboundLimits) -> Surface:
    """One endpoint for all stores; who may speak is decided by the store's signature, not by the path."""

    async def receive(call: Call) -> Reply:
        try:
            app = _app(services, call.parameters["store"], call.parameters["app_token"])
        except Problem as problem:
            if problem.status == 404:
                limits.refused(call.client_ip)
            raise
        headers = {name.lower(): value for name, value in call.headers.items()}
        answer = await services.ingest.receive_notification(app, headers, await call.body())
        return Reply(answer.status, answer.body)

    return Surface(
        PREFIX,
        [Endpoint("POST", PREFIX + "/{store}/{app_token}", receive)],
        error_body=lambda problem: {"error": problem.message},
        translate=translate,
        stamp=dict,
        note=note_answers(PREFIX),
        max_body_bytes=services.settings.max_body_bytes,
    )


def _app(services: Services, slug: str, token: str) -> App:
    """The app behind a path. Raises Problem 404: then the URL is wrong, and nothing is kept; 503 for a broken seal."""
    if slug not in _SLUGS:
        slugs = sorted(_SLUGS)
        raise Problem(404, f"There is no store {slug!r}; the path is {PREFIX}/STORE/TOKEN, STORE one of {slugs}.")
    app = services.config.current().apps_by_token.get(token)
    if app is None:
        raise Problem(404, "No app has this token; copy the notification URL from the app's page again.")
    if app.store not in DECLARATIONS or DECLARATIONS[app.store].slug != slug:
        raise Problem(404, f"The app with this token is not of store '{slug}'; copy its notification URL again.")
    if app.unreadable:
        raise Problem(503, "This app's credentials cannot be opened; its page says why.")
    return app
