"""Changing the sealing key: everything moves to the new one, in steps that may end anywhere (both databases)."""

import base64
import os
import threading
from itertools import islice
from pathlib import Path

import pytest
import sqlalchemy as sa

from bellwire.db import apps, keys, reseal
from bellwire.db.integrations import create_integration, list_integrations, update_integration
from bellwire.db.projects import create_project
from bellwire.db.sealing_keys import KEY_FILE, SealingKeyError, change_key_file, decode_keys, new_key, read_key_file
from bellwire.db.secrets import SealBroken, Sealer, id_of_key, key_id_of
from bellwire.db.tables import api_keys, integrations, metadata
from bellwire.destinations.webhook.destination import Settings as WebhookSettings
from bellwire.model.enums import Store

NOW = 1_767_225_600_000


def add_key(folder: Path) -> bytes:
    fresh = os.urandom(32)
    change_key_file(folder / KEY_FILE, lambda old: [fresh, *old])
    return fresh


def furnish(engine: sa.Engine, sealer: Sealer, count: int) -> str:
    """A project with `count` apps, keys and webhooks."""
    with engine.begin() as connection:
        project_id = create_project(connection, name="P", now_ms=NOW).id
        for number in range(count):
            app = apps.create_app(
                connection,
                sealer,
                project_id=project_id,
                store=Store.APP_STORE,
                name=str(number),
                config={},
                secrets={"iap_key_p8": f"p8 {number}"},
                now_ms=NOW + number,
            )
            keys.create_key(
                connection,
                sealer,
                project_id=project_id,
                kind=keys.KeyKind.PUBLIC,
                app_id=app.id,
                name=str(number),
                now_ms=NOW + number,
            )
            create_integration(
                connection,
                sealer,
                project_id=project_id,
                destination="webhook",
                name=str(number),
                settings=WebhookSettings(url="https://a.example/", authorization=f"Bearer {number}"),
                now_ms=NOW + number,
            )
    return project_id


def opened(engine: sa.Engine, sealer: Sealer, project_id: str) -> list[list[object]]:
    """Everything that is sealed, in plain."""
    with engine.connect() as connection:
        return [
            [app.secrets for app in apps.list_apps(connection, sealer, project_id)],
            [one.settings for one in list_integrations(connection, sealer, project_id)],
            [
                keys.show_public_key(connection, sealer, project_id, key.id)
                for key in keys.list_keys(connection, project_id)
            ],
        ]


def test_every_sealed_column_is_resealed(engine: sa.Engine, sealer: Sealer, tmp_path: Path) -> None:
    named = {f"{column.table.name}.{column.name}" for column in reseal.sealed_columns()}
    assert {"apps.sealed_secrets", "integrations.sealed_secrets", "api_keys.sealed_key"} <= named
    for column in reseal.sealed_columns():
        assert [one.name for one in column.table.primary_key] == ["id"], column.table.name
    binary = {f"{column.table.name}.{column.name}" for table in metadata.tables.values() for column in table.c}
    assert not [one for one in binary - named if "secret" in one.split(".")[1] and "hash" not in one]


def test_all_moves_to_the_new_key(
    engine: sa.Engine, sealer: Sealer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reseal, "BATCH_ROWS", 3)
    project_id = furnish(engine, sealer, 7)
    before, old = opened(engine, sealer, project_id), sealer.current_key_id
    fresh = add_key(tmp_path)
    assert sum(batch.resealed for batch in reseal.reseal(engine, Sealer.open_or_create(tmp_path))) == 21
    with engine.connect() as connection:
        assert reseal.count_by_key(connection) == {id_of_key(fresh): 21}
    alone = Sealer(fresh)
    assert opened(engine, alone, project_id) == before
    assert old not in alone.key_ids
    assert sum(batch.resealed for batch in reseal.reseal(engine, Sealer.open_or_create(tmp_path))) == 0


def test_resealing_that_ends_halfway_goes_on(
    engine: sa.Engine, sealer: Sealer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reseal, "BATCH_ROWS", 2)
    project_id = furnish(engine, sealer, 5)
    before = opened(engine, sealer, project_id)
    fresh = add_key(tmp_path)
    done = 0
    for _ in range(10):
        done += sum(batch.resealed for batch in islice(reseal.reseal(engine, Sealer.open_or_create(tmp_path)), 2))
        assert opened(engine, Sealer.open_or_create(tmp_path), project_id) == before
        done += sum(batch.resealed for batch in reseal.reseal(engine, Sealer.open_or_create(tmp_path)))
    assert done == 15
    assert opened(engine, Sealer(fresh), project_id) == before


def test_resealing_does_not_bring_back_what_was_changed_meanwhile(
    engine: sa.Engine, sealer: Sealer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading a row and writing it again a hub gives the integration another secret."""
    project_id = furnish(engine, sealer, 1)
    add_key(tmp_path)
    newer = WebhookSettings(url="https://a.example/", authorization="Bearer newer")
    original = reseal._next_rows

    def interfere(connection: sa.Connection, column: sa.Column[bytes], after: str) -> list[tuple[str, bytes]]:
        rows = original(connection, column, after)
        if column.table is integrations and rows:
            update_integration(connection, sealer, project_id, rows[0][0], settings=newer)
        return rows

    monkeypatch.setattr(reseal, "_next_rows", interfere)
    list(reseal.reseal(engine, Sealer.open_or_create(tmp_path)))
    with engine.connect() as connection:
        [one] = list_integrations(connection, sealer, project_id)
    assert one.settings["authorization"] == "Bearer newer"


def test_values_that_do_not_open_stay_and_are_named(engine: sa.Engine, sealer: Sealer, tmp_path: Path) -> None:
    project_id = furnish(engine, sealer, 2)
    with engine.begin() as connection:
        first = connection.execute(sa.select(api_keys.c.id).order_by(api_keys.c.id)).scalars().first()
        connection.execute(sa.update(api_keys).where(api_keys.c.id == first).values(sealed_key=b"\x01" + bytes(60)))
    add_key(tmp_path)
    batches = list(reseal.reseal(engine, Sealer.open_or_create(tmp_path)))
    [broken] = [one for batch in batches for one in batch.broken]
    assert str(first) in broken
    assert sum(batch.resealed for batch in batches) == 5
    assert len(opened(engine, sealer, project_id)[2]) == 2


def test_running_processes_take_a_new_key_file_over(sealer: Sealer, tmp_path: Path) -> None:
    """The one that was there first seals with the new key, and opens what others sealed with it."""
    here = "apps/sealed_secrets/a"
    before = sealer.seal(b"old", binding=here)
    fresh = add_key(tmp_path)
    theirs = Sealer.open_or_create(tmp_path).seal(b"theirs", binding=here)
    assert sealer.open(theirs, binding=here) == b"theirs"
    ours = sealer.seal(b"ours", binding=here)
    assert key_id_of(ours) == id_of_key(fresh) == sealer.current_key_id
    assert sealer.open(before, binding=here) == b"old"


def test_a_key_file_that_breaks_later_changes_nothing(sealer: Sealer, tmp_path: Path) -> None:
    """What was read goes on opening; sealing says what is wrong rather than use a key that may be gone."""
    here = "apps/sealed_secrets/a"
    sealed = sealer.seal(b"x", binding=here)
    (tmp_path / KEY_FILE).write_text("garbage\n")
    with pytest.raises(SealBroken, match="was sealed with key"):
        sealer.open(Sealer(b"1" * 32).seal(b"x", binding=here), binding=here)
    assert sealer.open(sealed, binding=here) == b"x"
    with pytest.raises(SealingKeyError, match=KEY_FILE):
        sealer.seal(b"x", binding=here)
    (tmp_path / KEY_FILE).unlink()
    assert sealer.open(sealer.seal(b"y", binding=here), binding=here) == b"y"


def test_keys_of_the_environment(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    here = "apps/sealed_secrets/a"
    sealed = Sealer.open_or_create(tmp_path, old).seal(b"x", binding=here)
    both = Sealer.open_or_create(tmp_path, new, f"{old}, {new_key()}")
    assert both.open(sealed, binding=here) == b"x"
    assert key_id_of(both.seal(b"x", binding=here)) == id_of_key(base64.urlsafe_b64decode(new))
    with pytest.raises(SealingKeyError, match="BELLWIRE_SECRET_KEYS_OLD") as caught:
        Sealer.open_or_create(tmp_path, new, f"{old},short")
    assert old not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_two_changes_of_the_key_file_at_once_lose_no_key(sealer: Sealer, tmp_path: Path) -> None:
    before = set(sealer.key_ids)
    threads = [threading.Thread(target=add_key, args=(tmp_path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_key_file(tmp_path / KEY_FILE)
    assert len(set(found)) == 9
    assert before <= {id_of_key(key) for key in found}
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "key" in path.name] == [KEY_FILE]


def test_a_change_that_fails_leaves_the_key_file(sealer: Sealer, tmp_path: Path) -> None:
    before = (tmp_path / KEY_FILE).read_bytes()

    def fail(_keys: list[bytes]) -> list[bytes]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        change_key_file(tmp_path / KEY_FILE, fail)
    assert (tmp_path / KEY_FILE).read_bytes() == before
    assert decode_keys(before.decode(), "file") == read_key_file(tmp_path / KEY_FILE)
    assert sealer.key_ids == [id_of_key(decode_keys(before.decode(), "file")[0])]
