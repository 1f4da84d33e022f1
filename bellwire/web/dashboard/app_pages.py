"""Apps and stores: the address to give to the store, whether its credentials work, what came in lately."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from starlette.responses import RedirectResponse, Response

from bellwire.db.apps import AppHealth, load_health
from bellwire.db.browse import InboxLine, load_inbox
from bellwire.db.notices import dismiss_notice, list_notices
from bellwire.model.projects import App
from bellwire.stores.registry import DECLARATIONS
from bellwire.web.dashboard.caller import Caller, NotFound
from bellwire.web.dashboard.lines import STORE_WORDS
from bellwire.web.dashboard.render import page


class AppCard(msgspec.Struct, frozen=True, kw_only=True):
    """One app to show; nothing of its secrets."""

    id: str
    name: str
    store: str
    notification_url: str | None
    """None for a store that the hub has no door for."""
    health: AppHealth
    config: list[tuple[str, str]]
    unreadable: str


class Dismissal(msgspec.Struct, frozen=True, kw_only=True):
    project_id: str
    kind: str
    subject: str


def list_apps(caller: Caller) -> Response:
    """GET /projects/{id}/apps; `?app=` chooses whose messages are listed, the first app's without it."""
    project = caller.project()
    apps = caller.apps()
    wanted = caller.request.query_params.get("app")
    chosen = next((app for app in apps if app.id == wanted), None) if wanted else (apps[0] if apps else None)
    if wanted and chosen is None:
        raise NotFound("This project has no such app.")
    with caller.reading() as connection:
        cards = [_card(caller, connection, app) for app in apps]
        inbox: list[InboxLine] = [] if chosen is None else load_inbox(connection, project.id, chosen.id)
        notices = list_notices(connection, project.id)
    values = {"here": "apps", "cards": cards, "chosen": chosen, "inbox": inbox, "notices": notices}
    return page(caller, "apps.html", values)


async def dismiss(caller: Caller, form: dict[str, str]) -> Response:
    """POST /projects/{id}/notices/dismiss."""
    project = caller.project()
    gone = Dismissal(project_id=project.id, kind=form.get("kind", ""), subject=form.get("subject", ""))
    await caller.services.writer.write(_dismiss, gone)
    return RedirectResponse(f"/projects/{project.id}/apps", status_code=303)


def _card(caller: Caller, connection: sa.Connection, app: App) -> AppCard:
    health = load_health(connection, app.project_id, app.id)
    if health is None:
        raise NotFound("This app was just removed.")
    declaration = DECLARATIONS.get(app.store)
    base = caller.services.settings.resolved_public_url()
    url = None if declaration is None else f"{base}/v1/incoming-webhooks/{declaration.slug}/{app.token}"
    return AppCard(
        id=app.id,
        name=app.name,
        store=STORE_WORDS.get(app.store.value, app.store.value),
        notification_url=url,
        health=health,
        config=_config(app),
        unreadable=app.unreadable,
    )


def _config(app: App) -> list[tuple[str, str]]:
    """The app's plain settings under the titles that the store's declaration gives them; empty ones left out."""
    declaration = DECLARATIONS.get(app.store)
    titles: dict[str, str] = {}
    if declaration is not None:
        info = msgspec.inspect.type_info(declaration.config)
        if isinstance(info, msgspec.inspect.StructType):
            for field in info.fields:
                title = _title(field.type)
                if title:
                    titles[field.encode_name] = title
    return [
        (titles.get(name, name), str(value))
        for name, value in app.config.items()
        if isinstance(value, (str, int)) and value not in ("", None)
    ]


def _title(info: msgspec.inspect.Type) -> str:
    if isinstance(info, msgspec.inspect.Metadata):
        return str((info.extra_json_schema or {}).get("title", ""))
    return ""


def _dismiss(connection: sa.Connection, payloads: Sequence[Dismissal]) -> list[bool]:
    return [dismiss_notice(connection, gone.project_id, kind=gone.kind, subject=gone.subject) for gone in payloads]
