"""The `bellwire` command. Each file holds the commands of one noun; `console.py` is what they share."""

from importlib.metadata import version

import click
import structlog

from bellwire.cli.alerts import alert_group
from bellwire.cli.apps import app_group
from bellwire.cli.catalogue import entitlement_group, product_group
from bellwire.cli.console import Commands
from bellwire.cli.events import events_group
from bellwire.cli.integrations import integration_group
from bellwire.cli.keys import key_group
from bellwire.cli.move import move_database
from bellwire.cli.parked import parked_group
from bellwire.cli.projects import project_group
from bellwire.cli.replays import replay_group
from bellwire.cli.retention import retention_group
from bellwire.cli.rotate import drop_old_secret, drop_old_token, rotate_app_token, rotate_secret
from bellwire.cli.run import demo, migrate, serve, simulate
from bellwire.cli.sealing import sealing_group
from bellwire.cli.users import user_group
from bellwire.cli.workers import workers
from bellwire.kit.logs import configure_logs

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("bellwire"), prog_name="bellwire")
@click.pass_context
def main(context: click.Context) -> None:
    """Bellwire: a self-hosted subscription-event hub.

    Store notifications and receipts come in, one clean stream of events goes out.

    Settings come from the environment (BELLWIRE_DATA_DIR, BELLWIRE_DATABASE_URL, BELLWIRE_PUBLIC_URL, ...); without
    any, everything lives in the folder ./bellwire-data. A first installation: `project create`, `user create`,
    `app create`, `integration create`, then `serve`. To look around first: `demo`.
    """
    configure_logs(level="warning", as_json=False, keep=False)  # `serve` does it again by its settings
    context.call_on_close(structlog.reset_defaults)


for command in (
    serve,
    demo,
    simulate,
    migrate,
    move_database,
    workers,
    project_group,
    app_group,
    key_group,
    user_group,
    product_group,
    entitlement_group,
    integration_group,
    alert_group,
    events_group,
    replay_group,
    parked_group,
    sealing_group,
    retention_group,
):
    main.add_command(command)

for command in (rotate_app_token, drop_old_token):
    app_group.add_command(command)
for command in (rotate_secret, drop_old_secret):
    integration_group.add_command(command)
