"""Setting up an installation from the command line, and what it says when that does not work."""

import base64
import json
import sqlite3
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bellwire.db.engine import open_engine
from bellwire.db.secrets import Sealer
from bellwire.db.users import authenticate
from tests.cli.conftest import Bellwire, answer


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


P8 = pem(ec.generate_private_key(ec.SECP256R1()))
RSA = pem(rsa.generate_private_key(65537, 2048))


@pytest.fixture
def project_id(bellwire: Bellwire) -> str:
    return str(answer(bellwire("project", "create", "Mine", "--json"))["id"])


def test_project(bellwire: Bellwire, tmp_path: Path) -> None:
    created = bellwire("project", "create", "My app")
    assert "Created project proj" in created.stdout
    assert "Made the database" in created.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert "My app" in bellwire("project", "list").stdout
    [listed] = msgspec.convert(answer(bellwire("project", "list", "--json"))["projects"], list[dict[str, object]])
    assert listed["name"] == "My app"


def test_nothing_is_made_by_looking(bellwire: Bellwire, tmp_path: Path) -> None:
    result = bellwire("project", "list", status=1)
    assert result.stderr.startswith("Error: there is no database")
    assert "bellwire migrate" in result.stderr
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "data").mkdir()
    assert "bellwire migrate" in bellwire("project", "list", status=1).stderr
    assert list((tmp_path / "data").iterdir()) == []


def test_migrate(bellwire: Bellwire, tmp_path: Path) -> None:
    first = answer(bellwire("migrate", "--json"))
    assert first["applied"]
    assert first["revision"]
    assert "up to date" in bellwire("migrate").stdout
    assert bellwire("project", "list").stdout == "No projects yet.\n"


def test_old_schema_is_not_worked_on(bellwire: Bellwire, tmp_path: Path) -> None:
    bellwire("migrate")
    with sqlite3.connect(tmp_path / "data" / "bellwire.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
    assert "install a newer one" in bellwire("project", "list", status=1).stderr
    assert "install a newer one" in bellwire("migrate", status=1).stderr


def test_commands_of_a_lone_project_need_not_name_it(bellwire: Bellwire) -> None:
    bellwire("migrate")
    assert "bellwire project create" in bellwire("key", "create", "k", status=2).stderr
    first = answer(bellwire("project", "create", "One", "--json"))["id"]
    assert answer(bellwire("key", "create", "k", "--json"))["project_id"] == first
    second = str(answer(bellwire("project", "create", "Two", "--json"))["id"])
    assert "--project" in bellwire("key", "create", "k", status=2).stderr
    assert answer(bellwire("key", "create", "k", "--project", second, "--json"))["project_id"] == second
    assert "no project projnone" in bellwire("key", "list", "--project", "projnone", status=2).stderr


def test_app_store_app(bellwire: Bellwire, project_id: str, tmp_path: Path) -> None:
    (tmp_path / "key.p8").write_text(P8)
    result = bellwire(
        *("app", "create", "app-store", "iPhone"),
        *("--bundle-id", "com.example", "--app-apple-id", "1234", "--iap-key-id", "KEY", "--issuer-id", "ISSUER"),
        *("--iap-key-p8", "key.p8", "--small-business-from", "2024-01-01", "--track-new-purchases"),
    )
    assert "/v1/incoming-webhooks/apple/" in result.stdout
    assert "appl_" in result.stdout
    assert "App Store Connect" in result.stdout
    assert "BELLWIRE_PUBLIC_URL" in result.stderr
    assert "PRIVATE KEY" not in result.output
    [app] = msgspec.convert(answer(bellwire("app", "list", "--json"))["apps"], list[dict[str, str]])
    assert app["notification_url"] in result.stdout
    assert app["sdk_key"] in result.stdout
    assert app["id"] in bellwire("app", "list").stdout
    row = _row(tmp_path, "apps")
    assert msgspec.json.decode(row["config"]) == {
        "bundle_id": "com.example",
        "app_apple_id": 1234,
        "iap_key_id": "KEY",
        "issuer_id": "ISSUER",
    }
    opened = Sealer.open_or_create(tmp_path / "data").open(
        row["sealed_secrets"], binding=f"apps/sealed_secrets/{app['id']}"
    )
    assert msgspec.json.decode(opened) == {"iap_key_p8": P8.strip()}
    assert (row["small_business_from_ms"], row["track_new_purchases"]) == (1_704_067_200_000, 1)


def test_play_app_with_key_from_stdin(bellwire: Bellwire, project_id: str, tmp_path: Path) -> None:
    result = bellwire(
        *("app", "create", "play", "Android", "--package-name", "com.example", "--service-account-json", "-"),
        *("--no-acknowledge-purchases", "--app-user-id-source", "obfuscated_external_account_id", "--json"),
        stdin=json.dumps({"client_email": "a@b", "private_key": RSA}),
    )
    made = answer(result)
    assert str(made["sdk_key"]).startswith("goog_")
    assert "/v1/incoming-webhooks/google/" in str(made["notification_url"])
    assert "Created Google Play app" in result.stderr
    assert msgspec.json.decode(_row(tmp_path, "apps")["config"]) == {
        "package_name": "com.example",
        "acknowledge_purchases": False,
        "app_user_id_source": "obfuscated_external_account_id",
        "push_audience": made["notification_url"],
    }


def test_apps_are_refused_with_a_reason(bellwire: Bellwire, project_id: str, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "text").write_text("not a key")
    (tmp_path / "rsa.p8").write_text(RSA)
    (tmp_path / "object.json").write_text('{"client_email": "a@b"}')
    (tmp_path / "keyless.json").write_text('{"client_email": "a@b", "private_key": "k"}')
    for arguments, reason in (
        (("app-store", "X"), "--bundle-id"),
        (("app-store", "X", "--bundle-id", "a", "--app-apple-id", "ten"), "integer"),
        (("app-store", "X", "--bundle-id", "a", "--iap-key-p8", "missing"), "No such file"),
        (("app-store", "X", "--bundle-id", "a", "--iap-key-p8", "binary"), "not text"),
        (("app-store", "X", "--bundle-id", "a", "--iap-key-p8", "text"), ".p8 file"),
        (("app-store", "X", "--bundle-id", "a", "--iap-key-p8", "rsa.p8"), "P-256"),
        (
            ("app-store", "X", "--bundle-id", ""),
            "--bundle-id: this is not what is wanted here: As in App Store Connect",
        ),
        (("app-store", "X", "--bundle-id", "a", "--app-apple-id", "-5"), "--app-apple-id"),
        (("app-store", " ", "--bundle-id", "a"), "at least one character"),
        (("play", "X", "--package-name", "a", "--app-user-id-source", "guess"), "guess"),
        (("play", "X", "--package-name", ""), "--package-name"),
        (("play", "X", "--package-name", "a", "--service-account-json", "text"), "JSON key file"),
        (("play", "X", "--package-name", "a", "--service-account-json", "object.json"), "JSON key file"),
        (("play", "X", "--package-name", "a", "--service-account-json", "keyless.json"), "RSA"),
    ):
        assert reason in bellwire("app", "create", *arguments, status=2).stderr
    assert "No apps yet." in bellwire("app", "list").stdout
    assert "no app appnone" in bellwire("app", "check", "appnone", status=2).stderr


def test_what_an_app_was_connected_with_can_be_changed(bellwire: Bellwire, project_id: str, tmp_path: Path) -> None:
    (tmp_path / "key.p8").write_text(P8)
    (tmp_path / "text").write_text("not a key")
    made = answer(bellwire("app", "create", "app-store", "A", "--bundle-id", "a", "--issuer-id", "I", "--json"))
    update = ("app", "update", "app-store", str(made["id"]))
    changed = answer(bellwire(*update, "--name", "B", "--iap-key-id", "K", "--iap-key-p8", "key.p8", "--json"))
    assert changed["changed"] == ["iap_key_id", "iap_key_p8", "name"]
    assert (changed["name"], changed["sdk_key"]) == ("B", made["sdk_key"])
    assert changed["notification_url"] == made["notification_url"]
    row = _row(tmp_path, "apps")
    assert msgspec.json.decode(row["config"]) == {"bundle_id": "a", "issuer_id": "I", "iap_key_id": "K"}
    assert "tries the credentials" in bellwire(*update, "--app-apple-id", "5", "--track-new-purchases").stdout
    row = _row(tmp_path, "apps")
    assert (msgspec.json.decode(row["config"])["app_apple_id"], row["track_new_purchases"]) == (5, 1)
    opened = Sealer.open_or_create(tmp_path / "data").open(
        row["sealed_secrets"], binding=f"apps/sealed_secrets/{made['id']}"
    )
    assert msgspec.json.decode(opened) == {"iap_key_p8": P8.strip()}  # what is not named stays
    assert "say with an option" in bellwire(*update, status=2).stderr
    assert ".p8 file" in bellwire(*update, "--iap-key-p8", "text", status=2).stderr
    assert "--bundle-id" in bellwire(*update, "--bundle-id", "", status=2).stderr
    assert "no Google Play app" in bellwire("app", "update", "play", str(made["id"]), "--name", "C", status=2).stderr


def test_app_check_says_what_is_missing(bellwire: Bellwire, project_id: str) -> None:
    app_id = str(answer(bellwire("app", "create", "play", "A", "--package-name", "a", "--json"))["id"])
    result = bellwire("app", "check", app_id, "--json", status=1)
    checked = answer(result)
    assert (checked["id"], checked["credential_status"]) == (app_id, "missing")
    assert "service account" in result.stderr
    assert "missing" in bellwire("app", "list").stdout


def test_keys(bellwire: Bellwire, project_id: str) -> None:
    app = answer(bellwire("app", "create", "app-store", "A", "--bundle-id", "a", "--json"))
    secret = answer(bellwire("key", "create", "server", "--json"))
    assert str(secret["key"]).startswith("sk_")
    public = bellwire("key", "create", "second", "--app", str(app["id"])).stdout.splitlines()[-1]
    assert public.startswith("appl_")
    listed = bellwire("key", "list").stdout
    assert public in listed
    assert str(secret["key"]) not in listed
    assert "Revoked" in bellwire("key", "revoke", str(secret["id"])).stdout
    assert "revoked" in bellwire("key", "list").stdout
    assert "no valid key" in bellwire("key", "revoke", str(secret["id"]), status=1).stderr
    assert "no app appnone" in bellwire("key", "create", "k", "--app", "appnone", status=1).stderr


def test_user(bellwire: Bellwire, tmp_path: Path) -> None:
    created = bellwire("user", "create", "Ann@example.com", "--password-stdin", stdin="correct horse battery\n")
    assert "ann@example.com" in created.stdout
    assert "correct horse" not in created.output
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'bellwire.db'}")
    with engine.connect() as connection:
        assert authenticate(connection, "ann@example.com", "correct horse battery") is not None
    engine.dispose()
    again = bellwire("user", "create", "ann@example.com", "--password-stdin", stdin="correct horse battery\n", status=1)
    assert "already" in again.stderr
    short = bellwire("user", "create", "bob@example.com", "--password-stdin", stdin="short\n", status=1)
    assert "10 characters" in short.stderr
    asked = bellwire("user", "create", "bob@example.com", stdin="correct horse 2\ncorrect horse 2\n")
    assert "correct horse" not in asked.output
    assert "bob@example.com" in bellwire("user", "list").stdout


def test_forgotten_password(bellwire: Bellwire, tmp_path: Path) -> None:
    bellwire("user", "create", "ann@example.com", "--password-stdin", stdin="correct horse battery\n")
    set_new = ("user", "password", "Ann@example.com", "--password-stdin")
    assert "has to log in again" in bellwire(*set_new, stdin="another horse battery\n").stdout
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'bellwire.db'}")
    with engine.connect() as connection:
        assert authenticate(connection, "ann@example.com", "another horse battery") is not None
        assert authenticate(connection, "ann@example.com", "correct horse battery") is None
    engine.dispose()
    assert "10 characters" in bellwire(*set_new, stdin="short\n", status=1).stderr
    assert "no user bob" in bellwire("user", "password", "bob@example.com", "--password-stdin", status=1).stderr


def test_catalogue(bellwire: Bellwire, project_id: str) -> None:
    assert "Added entitlement premium" in bellwire("entitlement", "add", "premium", "--name", "Premium").stdout
    added = bellwire("product", "add", "pro:monthly", "--entitlement", "premium", "--name", "Pro").stdout
    assert "It grants premium." in added
    bellwire("product", "add", "coins", "--type", "consumable", "--json")
    bellwire("entitlement", "add", "rich", "--product", "coins")
    assert answer(bellwire("product", "list", "--json"))["products"] == [
        {"product": "coins", "type": "CONSUMABLE", "entitlements": ["rich"]},
        {"product": "pro:monthly", "type": "SUBSCRIPTION", "entitlements": ["premium"]},
    ]
    assert "premium" in bellwire("entitlement", "list").stdout
    missing = bellwire("product", "add", "new", "--entitlement", "typo", status=1)
    assert "typo" in missing.stderr
    assert "new" not in bellwire("product", "list").stdout  # nothing is half done


def test_trouble_is_one_line(bellwire: Bellwire, project_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(*arguments: str) -> str:
        [text] = bellwire(*arguments, status=1).stderr.splitlines()
        return text

    monkeypatch.setenv("BELLWIRE_SECRET_KEY", "short")
    assert "BELLWIRE_SECRET_KEY" in line("project", "list")
    monkeypatch.setenv("BELLWIRE_SECRET_KEY", base64.urlsafe_b64encode(b"k" * 32).decode())
    bellwire("app", "create", "app-store", "A", "--bundle-id", "a")
    monkeypatch.delenv("BELLWIRE_SECRET_KEY")
    assert "was sealed with key" in bellwire("app", "list").stderr
    monkeypatch.setenv("BELLWIRE_PORT", "many")
    assert "BELLWIRE_PORT" in line("project", "list")
    monkeypatch.setenv("BELLWIRE_PORT", "1")
    monkeypatch.setenv("BELLWIRE_TYPO", "1")
    assert "BELLWIRE_TYPO" in line("project", "list")
    monkeypatch.delenv("BELLWIRE_TYPO")
    monkeypatch.setenv("BELLWIRE_DATABASE_URL", "sqlite:////dev/null/not/here.db")
    assert "/dev/null" in line("migrate")
    monkeypatch.setenv("BELLWIRE_DATABASE_URL", "")
    monkeypatch.setenv("BELLWIRE_DATA_DIR", "/dev/null")
    assert "/dev/null cannot be made: it is a file" in line("migrate")
    monkeypatch.setenv("BELLWIRE_DATABASE_URL", "nosuchdatabase://x")
    assert "BELLWIRE_DATABASE_URL" in line("migrate")
    monkeypatch.setenv("BELLWIRE_DATABASE_URL", "postgresql+psycopg://u:hidden@/x?host=/nowhere")
    assert "hidden" not in line("migrate")


def _row(tmp_path: Path, table: str) -> sqlite3.Row:
    connection = sqlite3.connect(tmp_path / "data" / "bellwire.db")
    connection.row_factory = sqlite3.Row
    try:
        row: sqlite3.Row = connection.execute(f"SELECT * FROM {table}").fetchone()  # noqa: S608
        return row
    finally:
        connection.close()
