"""What operators configured, in memory: read whole, swapped whole, reloaded when the database says it changed."""

import threading
import time

import msgspec
import sqlalchemy as sa
import structlog

from bellwire.db import version
from bellwire.db.apps import list_apps, previous_tokens
from bellwire.db.catalogue import load_catalogue
from bellwire.db.integrations import list_integrations
from bellwire.db.keys import ApiKey, load_valid_keys
from bellwire.db.postgres import is_away
from bellwire.db.projects import list_projects
from bellwire.db.rates import load_rates
from bellwire.db.secrets import Sealer
from bellwire.engine.money import Rates
from bellwire.model.projects import App, Catalogue, Integration, Project
from bellwire.observe import metrics

log = structlog.get_logger()

LOOK_EVERY_S = 0.25
"""A change by another process is seen at most this much later."""
_LOOK_CLOSELY_S = 1.0
"""For so long after a change by this process every call looks: the change may be waiting for its commit."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One consistent reading. Holds opened secrets: never log it; `repr` leaves everything out."""

    version: int
    projects: dict[str, Project]
    apps: dict[str, App]
    apps_by_token: dict[str, App]
    """Tokens from before a rotation route too."""
    integrations: dict[str, Integration]
    catalogues: dict[str, Catalogue]
    keys: dict[str, ApiKey]
    """By hash; revoked ones are not there."""
    rates: Rates = Rates()

    def __repr__(self) -> str:
        return f"Config(version={self.version})"

    def apps_of(self, project_id: str) -> list[App]:
        """Apps of a project, oldest first."""
        return [app for app in self.apps.values() if app.project_id == project_id]

    def integrations_of(self, project_id: str) -> list[Integration]:
        """Integrations of a project that are not deleted, disabled ones too, oldest first."""
        return [one for one in self.integrations.values() if one.project_id == project_id]

    def catalogue(self, project_id: str) -> Catalogue:
        """The project's catalogue; an empty one for a project that is not known."""
        return self.catalogues.get(project_id, _EMPTY)

    def unreadable(self) -> list[App | Integration]:
        """Apps and integrations whose secrets do not open: they do nothing until somebody mends that."""
        return [one for one in (*self.apps.values(), *self.integrations.values()) if one.unreadable]

    def log_unreadable(self) -> None:
        """So that who reads the log need not look at every page."""
        for one in self.unreadable():
            log.error("config.unreadable", id=one.id, project_id=one.project_id, reason=one.unreadable)

    def key(self, key_hash: str) -> ApiKey | None:
        """Whom the key with this SHA-256 lets in (`keys.hash_key`)."""
        return self.keys.get(key_hash)


_EMPTY = Catalogue()


class ConfigCache:
    """Keeps the latest `Config` of one database. Safe to use from several threads.

    `followed`: a thread calls `follow` all the time, so that an event loop does not wait for a remote database only to
    hear that nothing changed.
    """

    def __init__(self, engine: sa.Engine, sealer: Sealer, *, followed: bool = False) -> None:
        self._engine = engine.execution_options(bellwire_read_only=True)
        self._sealer = sealer
        self._followed = followed
        self._lock = threading.Lock()
        self._config: Config | None = None
        self._seen_bumps = version.bumps_of_this_process()
        self._look_closely_until_s = 0.0
        self._looked_at_s = 0.0

    def current(self) -> Config:
        """The configuration as of now. Usually two comparisons; now and then one tiny query, seldom a reload.

        A change committed by this process is seen by the next call, one by another process within LOOK_EVERY_S.
        An app or integration whose seal is broken is there without its secrets; after a reload the log says so. While the
        database is away the last configuration counts.
        """
        config = self._config
        if config is not None and not self._look_is_due():
            return config
        return self.follow()

    def follow(self) -> Config:
        """Look at the database now."""
        with self._lock:
            try:
                return self._look()
            except sa.exc.SQLAlchemyError as error:
                if self._config is None or not is_away(error):
                    raise
                self._looked_at_s, self._look_closely_until_s = time.monotonic(), 0.0
                return self._config

    def _look_is_due(self) -> bool:
        now_s = time.monotonic()
        return (
            (not self._followed and now_s - self._looked_at_s >= LOOK_EVERY_S)
            or now_s < self._look_closely_until_s
            or version.bumps_of_this_process() != self._seen_bumps
        )

    def _look(self) -> Config:
        now_s = time.monotonic()
        bumps = version.bumps_of_this_process()
        if bumps != self._seen_bumps:
            self._look_closely_until_s = now_s + _LOOK_CLOSELY_S
            self._seen_bumps = bumps
        with self._engine.connect() as connection:
            present = version.load(connection)
            if self._config is None or self._config.version != present:
                first = self._config is None
                self._config = _load(connection, self._sealer, present)
                metrics.CONFIG_LOADS.add(1)
                if not first:
                    self._config.log_unreadable()
        self._looked_at_s = now_s
        return self._config


def _load(connection: sa.Connection, sealer: Sealer, present: int) -> Config:
    projects = {project.id: project for project in list_projects(connection)}
    apps = {app.id: app for app in list_apps(connection, sealer)}
    by_token = {token: apps[app_id] for token, app_id in previous_tokens(connection).items() if app_id in apps}
    return Config(
        version=present,
        projects=projects,
        apps=apps,
        apps_by_token=by_token | {app.token: app for app in apps.values()},
        integrations={one.id: one for one in list_integrations(connection, sealer)},
        catalogues={project_id: load_catalogue(connection, project_id) for project_id in projects},
        keys=load_valid_keys(connection),
        rates=load_rates(connection),
    )
