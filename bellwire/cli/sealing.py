"""`bellwire sealing`: the keys that store and tool credentials are sealed with, and how to change them."""

from collections.abc import Sequence

import click

from bellwire.cli.console import Hub, json_option, open_hub, reading, say, show, table
from bellwire.db.reseal import count_by_key, reseal
from bellwire.db.sealing_keys import KEY_FILE, change_key_file, decode_key, new_key
from bellwire.db.secrets import id_of_key

_BY_SETTINGS = """The sealing key comes from BELLWIRE_SECRET_KEY, so it is changed where that is set:
1. set BELLWIRE_SECRET_KEYS_OLD to the present key, and BELLWIRE_SECRET_KEY to a new one, such as {new}
2. restart every process of the hub
3. run `bellwire sealing reseal`, with the same settings
4. take BELLWIRE_SECRET_KEYS_OLD away"""


@click.group("sealing")
def sealing_group() -> None:
    """Sealing keys: what credentials in the database are encrypted with."""


@sealing_group.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the keys by their ids, never the keys themselves, and how many values each has sealed."""
    with open_hub() as hub, reading(hub) as connection:
        counts = count_by_key(connection)
        known = hub.sealer.key_ids
    missing = sorted(one for one in counts if one and one not in known)
    states = [(one, "current" if one == known[0] else "old") for one in known] + [(one, "missing") for one in missing]
    values = [{"id": one, "state": state, "sealed_values": counts[one]} for one, state in states]
    lines = table(("KEY", "STATE", "SEALED VALUES"), [(one, state, str(counts[one])) for one, state in states], none="")
    show(as_json, {"keys": values}, lines)


@sealing_group.command("rotate")
@click.option("--only-add", is_flag=True, help="Do not seal anything again yet: first bring the file to other hosts.")
@json_option
def rotate(only_add: bool, as_json: bool) -> None:
    """Make a new key current and seal everything with it again. Hubs that run go on and take the new key over.

    The old key stays in the file, for what is not resealed and for copies of the database; see `sealing retire`.
    """
    with open_hub() as hub:
        _refuse_settings(hub)
        fresh = decode_key(new_key(), KEY_FILE)
        change_key_file(hub.settings.data_dir / KEY_FILE, lambda keys: [fresh, *keys])
        click.echo(f"Key {id_of_key(fresh)} is current. Back {KEY_FILE} up again, apart from the database.", err=True)
        values = {"current": id_of_key(fresh)}
        if only_add:
            say(as_json, values, f"Next: copy {KEY_FILE} to every host, then run `bellwire sealing reseal`.")
        else:
            _reseal(hub, as_json)


@sealing_group.command("reseal")
@json_option
def reseal_(as_json: bool) -> None:
    """Seal everything with the current key that is not yet. May be stopped and run again at any time."""
    with open_hub() as hub:
        _reseal(hub, as_json)


@sealing_group.command("retire")
@click.argument("key_id", metavar="KEY")
@json_option
def retire(key_id: str, as_json: bool) -> None:
    """Take the old key KEY (its id, see `sealing list`) out of the file, once nothing is sealed with it any more.

    Backups of the database from before still need it: keep a copy with them.
    """
    with open_hub() as hub:
        _refuse_settings(hub)
        if key_id not in hub.sealer.key_ids:
            raise click.ClickException(f"there is no key {key_id}: see `bellwire sealing list`")
        if key_id == hub.sealer.current_key_id:
            raise click.ClickException(f"key {key_id} is the current one: run `bellwire sealing rotate` first")
        with reading(hub) as connection:
            left = count_by_key(connection)[key_id]
        if left:
            raise click.ClickException(
                f"{left} values are sealed with key {key_id}: run `bellwire sealing reseal` first"
            )
        change_key_file(hub.settings.data_dir / KEY_FILE, lambda keys: _without(keys, key_id))
    say(as_json, {"id": key_id, "retired": True}, f"Took key {key_id} out of {KEY_FILE}.")


def _reseal(hub: Hub, as_json: bool) -> None:
    count = 0
    broken: list[str] = []
    for batch in reseal(hub.engine, hub.sealer):
        count += batch.resealed
        broken += batch.broken
    for one in broken:
        click.echo(one, err=True)
    current = hub.sealer.current_key_id
    say(
        as_json, {"current": current, "resealed": count, "broken": broken}, f"Sealed {count} values with key {current}."
    )
    if broken:
        raise click.ClickException(f"{len(broken)} values do not open and were left as they are")


def _refuse_settings(hub: Hub) -> None:
    if hub.settings.secret_key:
        raise click.ClickException(_BY_SETTINGS.format(new=new_key()))


def _without(keys: Sequence[bytes], key_id: str) -> list[bytes]:
    return [key for index, key in enumerate(keys) if index == 0 or id_of_key(key) != key_id]
