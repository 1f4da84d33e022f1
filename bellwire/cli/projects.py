"""`bellwire project`: the outermost scope; apps, keys, products and integrations belong to one."""

import click
import msgspec

from bellwire.cli.console import json_option, now_ms, open_hub, reading, say, show, table
from bellwire.cli.fields import Name
from bellwire.db.projects import create_project, list_projects


@click.group("project")
def project_group() -> None:
    """Projects: one product with its apps, customers and integrations."""


@project_group.command("create")
@click.argument("name", type=Name())
@json_option
def create(name: str, as_json: bool) -> None:
    """Make a project called NAME."""
    with open_hub(create=True) as hub, hub.engine.begin() as connection:
        project = create_project(connection, name=name, now_ms=now_ms())
    say(as_json, msgspec.to_builtins(project), f"Created project {project.id} ({name}).")


@project_group.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all projects, oldest first."""
    with open_hub() as hub, reading(hub) as connection:
        projects = list_projects(connection)
    show(
        as_json,
        {"projects": msgspec.to_builtins(projects)},
        table(("ID", "NAME"), [(one.id, one.name) for one in projects], none="No projects yet."),
    )
