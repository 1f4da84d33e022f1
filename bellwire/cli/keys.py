"""`bellwire key`: API keys of apps and servers."""

import click
import msgspec

from bellwire.cli.console import (
    choose_project,
    json_option,
    now_ms,
    open_hub,
    project_option,
    reading,
    say,
    show,
    table,
)
from bellwire.cli.fields import Name
from bellwire.db.keys import KeyKind, create_key, list_keys, revoke_key, show_public_key


@click.group("key")
def key_group() -> None:
    """API keys: public ones ship inside an app, secret ones stay on servers."""


@key_group.command("create")
@click.argument("name", type=Name())
@click.option("--app", "app_id", metavar="ID", help="Make a public key of this app; without it, a secret key.")
@project_option
@json_option
def create(name: str, app_id: str | None, project_id: str | None, as_json: bool) -> None:
    """Make a key called NAME: a secret key of the project, or with --app a public SDK key of an app.

    A secret key is shown this once and never again.
    """
    kind = KeyKind.SECRET if app_id is None else KeyKind.PUBLIC
    with open_hub() as hub, hub.engine.begin() as connection:
        plain, key = create_key(
            connection,
            hub.sealer,
            project_id=choose_project(connection, project_id),
            kind=kind,
            app_id=app_id,
            name=name,
            now_ms=now_ms(),
        )
    once = " It is not shown again." if kind is KeyKind.SECRET else ""
    message = f"Created {kind} key {key.id} ({name}).{once}"
    say(as_json, msgspec.to_builtins(key) | {"key": plain}, message if as_json else f"{message}\n{plain}")


@key_group.command("list")
@project_option
@json_option
def list_(project_id: str | None, as_json: bool) -> None:
    """List the keys of a project, revoked ones too; public keys in full, secret ones as a hint."""
    with open_hub() as hub, reading(hub) as connection:
        keys = list_keys(connection, choose_project(connection, project_id))
        plain = [show_public_key(connection, hub.sealer, key.project_id, key.id) for key in keys]
    rows = [
        (key.id, key.kind, shown or key.hint, key.app_id or "-", "revoked" if key.revoked_at_ms else "valid", key.name)
        for key, shown in zip(keys, plain, strict=True)
    ]
    values = [msgspec.to_builtins(key) | {"key": shown} for key, shown in zip(keys, plain, strict=True)]
    show(as_json, {"keys": values}, table(("ID", "KIND", "KEY", "APP", "STATE", "NAME"), rows, none="No keys yet."))


@key_group.command("revoke")
@click.argument("key_id", metavar="KEY-ID")
@project_option
@json_option
def revoke(key_id: str, project_id: str | None, as_json: bool) -> None:
    """Stop a key for good, named by its id (see `key list`). Running hubs refuse it within a second."""
    with open_hub() as hub, hub.engine.begin() as connection:
        if not revoke_key(connection, choose_project(connection, project_id), key_id, now_ms=now_ms()):
            raise click.ClickException(f"there is no valid key {key_id} in this project: see `bellwire key list`")
    say(as_json, {"id": key_id, "revoked": True}, f"Revoked key {key_id}.")
