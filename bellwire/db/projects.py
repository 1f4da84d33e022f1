"""Projects: the outermost scope; every other query names one."""

import msgspec
import sqlalchemy as sa

from bellwire.db import version
from bellwire.db.tables import projects
from bellwire.kit.ids import new_public_id
from bellwire.model.projects import Project, ProjectSettings


def create_project(
    connection: sa.Connection, *, name: str, now_ms: int, settings: ProjectSettings | None = None
) -> Project:
    """Add a project and return it."""
    project = Project(id=new_public_id("proj"), name=name, settings=settings or ProjectSettings(), created_at_ms=now_ms)
    connection.execute(
        sa.insert(projects).values(
            id=project.id,
            name=project.name,
            settings=msgspec.json.encode(project.settings).decode(),
            created_at_ms=project.created_at_ms,
        )
    )
    version.bump(connection)
    return project


def update_project(
    connection: sa.Connection, project_id: str, *, name: str | None = None, settings: ProjectSettings | None = None
) -> bool:
    """Change the name, the rules, or both; False when there is no such project."""
    changes: dict[str, object] = {}
    if name is not None:
        changes["name"] = name
    if settings is not None:
        changes["settings"] = msgspec.json.encode(settings).decode()
    if not changes:
        return load_project(connection, project_id) is not None
    done = connection.execute(sa.update(projects).where(projects.c.id == project_id).values(changes))
    version.bump(connection)
    return done.rowcount == 1


def load_project(connection: sa.Connection, project_id: str) -> Project | None:
    """One project, if it exists."""
    row = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one_or_none()
    return None if row is None else _project(row)


def list_projects(connection: sa.Connection) -> list[Project]:
    """All projects, oldest first."""
    rows = connection.execute(sa.select(projects).order_by(projects.c.created_at_ms, projects.c.id))
    return [_project(row) for row in rows]


def _project(row: sa.Row[*tuple[object, ...]]) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        settings=msgspec.json.decode(row.settings, type=ProjectSettings),
        created_at_ms=row.created_at_ms,
    )
