"""Every command and every option explains itself."""

from collections.abc import Iterator

import click
import pytest

from bellwire.cli import main
from bellwire.stores.registry import DECLARATIONS


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, f"{path} {name}")


COMMANDS = dict(walk(main, "bellwire"))


def test_the_promised_commands_are_there() -> None:
    promised = (
        "serve",
        "demo",
        "simulate",
        "migrate",
        "project create",
        "project list",
        "app create app-store",
        "app create play",
        "app update app-store",
        "app update play",
        "app list",
        "app check",
        "key create",
        "key list",
        "key revoke",
        "user create",
        "user password",
        "product add",
        "entitlement add",
        "integration create webhook",
        "integration list",
        "integration test",
        "integration delete",
        "events tail",
        "replay start",
        "replay list",
        "replay show",
        "replay cancel",
        "parked list",
        "parked show",
        "parked retry",
        "parked discard",
    )
    assert {f"bellwire {name}" for name in promised} <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help(path: str) -> None:
    command = COMMANDS[path]
    assert command.help, path
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts[0]}"


RUN_UNTIL_STOPPED = {"bellwire serve", "bellwire demo"}
ANSWERING = [path for path, command in COMMANDS.items() if not isinstance(command, click.Group)]


@pytest.mark.parametrize("path", sorted(set(ANSWERING) - RUN_UNTIL_STOPPED))
def test_commands_speak_json(path: str) -> None:
    assert any("--json" in parameter.opts for parameter in COMMANDS[path].params)


def test_every_store_can_be_connected() -> None:
    paths = [path for path in COMMANDS if path.startswith("bellwire app create ")]
    assert len(paths) == len(DECLARATIONS)
