"""`bellwire user`: who may log in to the dashboard."""

import sys

import click
import msgspec

from bellwire.cli.console import json_option, now_ms, open_hub, reading, say, show, table
from bellwire.db.users import change_password, create_user, hash_password, list_users


@click.group("user")
def user_group() -> None:
    """People who may log in to the dashboard."""


_password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input instead of asking."
)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


@user_group.command("create")
@click.argument("email")
@_password_option
@json_option
def create(email: str, password_stdin: bool, as_json: bool) -> None:
    """Let the person with address EMAIL log in; asks for the password."""
    password_hash = hash_password(_password(password_stdin))
    with open_hub(create=True) as hub, hub.engine.begin() as connection:
        user = create_user(connection, email=email, password_hash=password_hash, now_ms=now_ms())
    say(as_json, msgspec.to_builtins(user), f"Created user {user.email}, who can now log in to the dashboard.")


@user_group.command("password")
@click.argument("email")
@_password_option
@json_option
def password(email: str, password_stdin: bool, as_json: bool) -> None:
    """Give the person with address EMAIL a new password, and end all sessions of theirs."""
    with open_hub() as hub:
        with reading(hub) as connection:
            user = next((one for one in list_users(connection) if one.email == email.strip().lower()), None)
        if user is None:
            raise click.ClickException(f"there is no user {email}: see `bellwire user list`")
        password_hash = hash_password(_password(password_stdin))
        with hub.engine.begin() as connection:
            change_password(connection, user.id, password_hash)
    say(as_json, msgspec.to_builtins(user), f"Changed the password of {user.email}, who has to log in again.")


@user_group.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List who may log in."""
    with open_hub() as hub, reading(hub) as connection:
        users = list_users(connection)
    rows = [(user.id, user.email) for user in users]
    show(as_json, {"users": msgspec.to_builtins(users)}, table(("ID", "E-MAIL"), rows, none="No users yet."))
