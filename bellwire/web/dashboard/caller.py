"""Who asks, and for what: one request of a logged-in person, with what it may see."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from starlette.requests import Request

from bellwire.db.engine import reader
from bellwire.db.users import Session
from bellwire.kit.clock import SystemClock
from bellwire.model.projects import App, Integration, Project
from bellwire.web.dashboard.ports import DashboardServices


class NotFound(Exception):
    """There is no such thing in this project, or no such project: answered 404, alike for both."""


@dataclass(frozen=True)
class Caller:
    """Everything a page handler works with. The path's ids are only used through the lookups below."""

    request: Request
    services: DashboardServices
    session: Session
    token: str

    @property
    def now_ms(self) -> int:
        """Real time: attempts, sessions and 'ago' go by it, never by the simulator's clock."""
        return SystemClock().now_ms()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view of the database."""
        with reader(self.services.engine).begin() as connection:
            yield connection

    def path(self, name: str) -> str:
        """A part of the path, as text. Raises NotFound for a NUL, which no id holds and PostgreSQL does not take."""
        text = str(self.request.path_params[name])
        if "\x00" in text:
            raise NotFound("There is no such thing.")
        return text

    def projects(self) -> list[Project]:
        return list(self.services.config.current().projects.values())

    def project(self) -> Project:
        """The project of the path. Raises NotFound."""
        project = self.services.config.current().projects.get(self.path("project_id"))
        if project is None:
            raise NotFound("There is no such project.")
        return project

    def integration(self) -> Integration:
        """The integration of the path, if it is the project's. Raises NotFound."""
        project = self.project()
        found = self.services.config.current().integrations.get(self.path("integration_id"))
        if found is None or found.project_id != project.id:
            raise NotFound("This project has no such integration.")
        return found

    def integrations(self) -> list[Integration]:
        return self.services.config.current().integrations_of(self.project().id)

    def apps(self) -> list[App]:
        return self.services.config.current().apps_of(self.project().id)
