"""Operator settings: one frozen struct, read once at start from the environment (`BELLWIRE_*`)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args, get_type_hints

import msgspec


class SettingsError(Exception):
    """An environment variable has a value that cannot be used; the message names it and says what would do."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is read from `BELLWIRE_<NAME IN CAPITALS>`; the description is the reference page's text."""

    data_dir: Annotated[Path, msgspec.Meta(description="Folder for the SQLite file and the sealing key.")] = Path(
        "bellwire-data"
    )
    database_url: Annotated[
        str,
        msgspec.Meta(
            description="`postgresql://user:password@host:5432/name` (PostgreSQL 15 or newer) or `sqlite:///path`; "
            "empty = SQLite file `bellwire.db` in the data folder."
        ),
    ] = ""
    database_connections: Annotated[
        int,
        msgspec.Meta(
            description="Most connections that one process opens to PostgreSQL; one more listens. The server's "
            "`max_connections` must do for all processes together.",
            ge=3,
        ),
    ] = 10
    host: Annotated[str, msgspec.Meta(description="Address that `serve` listens on.", min_length=1)] = "127.0.0.1"
    port: Annotated[
        int, msgspec.Meta(description="Port that `serve` listens on; 0 = any free one.", ge=0, le=65_535)
    ] = 8474
    public_url: Annotated[
        str,
        msgspec.Meta(
            description="Address under which stores and people reach the hub, with `https://` in front and no path; "
            "empty = host and port.",
            pattern=r"^(https?://[^\s/?#]+/?)?$(?!\n)",
        ),
    ] = ""
    secret_key: Annotated[
        str,
        msgspec.Meta(
            description="Sealing key, 32 bytes as URL-safe base64; empty = file `sealing.key` (mode 600) in the data "
            "folder, made at first start."
        ),
    ] = ""
    secret_keys_old: Annotated[
        str,
        msgspec.Meta(
            description="Earlier sealing keys, comma-separated, that still open what they sealed until `bellwire sealing "
            "reseal` has been run."
        ),
    ] = ""
    allow_private_addresses: Annotated[
        bool,
        msgspec.Meta(
            description="Let deliveries and store calls go to loopback and private networks, and over plain http. "
            "For demos and staging."
        ),
    ] = False
    allow_test_roots: Annotated[
        bool, msgspec.Meta(description="Accept an app's own root certificates and store addresses. For tests only.")
    ] = False
    max_body_bytes: Annotated[int, msgspec.Meta(description="Largest request body that a door reads.", ge=1)] = (
        1_048_576
    )
    request_timeout_s: Annotated[
        float,
        msgspec.Meta(description="How long a client may take to send a whole request before it is hung up on.", gt=0),
    ] = 30.0
    requests_per_s_per_key: Annotated[
        float,
        msgspec.Meta(
            description="Requests a second that a secret API key may make, and a public one from one client address, "
            "twice as many at once; more get 429. 0 = no limit.",
            ge=0,
        ),
    ] = 500.0
    refusals_per_minute: Annotated[
        int,
        msgspec.Meta(
            description="Requests a minute that a client address may make without a valid key or notification URL before "
            "it gets 429 instead of 401 or 404. 0 = no limit.",
            ge=0,
        ),
    ] = 300
    max_connections: Annotated[
        int,
        msgspec.Meta(
            description="Connections that a process keeps open; beyond it the one that has waited longest for its request "
            "is closed. Less where the system allows fewer open files.",
            ge=8,
        ),
    ] = 8_192
    max_connections_per_address: Annotated[
        int,
        msgspec.Meta(description="The same from one client address that is no trusted proxy; more are closed.", ge=1),
    ] = 256
    trusted_proxies: Annotated[
        str,
        msgspec.Meta(
            description="Addresses or networks of reverse proxies, comma-separated, whose `X-Forwarded-For` is believed; "
            "never `*`, with which every client could name its own address."
        ),
    ] = "127.0.0.1,::1"
    delivery_timeout_s: Annotated[
        float, msgspec.Meta(description="Deadline of one delivery, from DNS to the last byte of the answer.", gt=0)
    ] = 60.0
    delivery_concurrency: Annotated[
        int, msgspec.Meta(description="Requests in flight over all integrations.", ge=1)
    ] = 256
    attempts_kept_days: Annotated[
        int,
        msgspec.Meta(
            description="How long the attempt log, requests and answers with it, is kept; 0 = for ever.",
            ge=0,
            le=36_500,
        ),
    ] = 30
    inbox_bodies_kept_days: Annotated[
        int,
        msgspec.Meta(
            description="How long the bytes of notifications and receipts are kept; 0 = for ever. State can be rebuilt "
            "only from what is there.",
            ge=0,
            le=36_500,
        ),
    ] = 0
    drain_s: Annotated[
        float,
        msgspec.Meta(
            description="How long a process that was told to stop (SIGTERM) goes on taking requests while `/readyz` says "
            "no, so that a load balancer turns to others first.",
            ge=0,
        ),
    ] = 1.0
    metrics_host: Annotated[str, msgspec.Meta(description="Address of the metrics port.", min_length=1)] = "127.0.0.1"
    metrics_port: Annotated[
        int,
        msgspec.Meta(
            description="A port of its own for `/metrics`, `/healthz` and `/readyz`, open to whoever reaches it unless "
            "there is a token; 0 = none: they are served on the main port alone.",
            ge=0,
            le=65_535,
        ),
    ] = 0
    metrics_token: Annotated[
        str,
        msgspec.Meta(
            description="Who sends this as bearer token may read `/metrics`; empty = on the main port only this machine "
            "may, and only as long as there is no `BELLWIRE_PUBLIC_URL`."
        ),
    ] = ""
    pause_after_days: Annotated[
        float,
        msgspec.Meta(
            description="Days of nothing but failure after which an integration pauses by itself and says so; 0 = never.",
            ge=0,
        ),
    ] = 5.0
    timer_interval_s: Annotated[
        float, msgspec.Meta(description="How often due refresh timers are looked for.", gt=0)
    ] = 5.0
    recovery_interval_s: Annotated[
        float, msgspec.Meta(description="How often stores are asked for notifications that did not arrive.", gt=0)
    ] = 86_400.0
    session_hours: Annotated[int, msgspec.Meta(description="How long a dashboard login lasts.", ge=1)] = 24 * 14
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], msgspec.Meta(description="What is logged, and all that is worse.")
    ] = "info"
    log_json: Annotated[bool, msgspec.Meta(description="One JSON object a line instead of readable text.")] = False
    otel: Annotated[
        bool,
        msgspec.Meta(
            description="Send OpenTelemetry spans of every event's walk. Needs the extra `otel`; where to and how many is "
            "set by OpenTelemetry's own `OTEL_*` variables."
        ),
    ] = False
    send_traceparent: Annotated[
        bool,
        msgspec.Meta(
            description="Send a `traceparent` header with webhooks, so that a receiver can join its own spans."
        ),
    ] = False
    dangerous_clock_file: Annotated[
        str,
        msgspec.Meta(description="Take the time from this virtual clock (simulator). Never on a real installation."),
    ] = ""

    def __repr__(self) -> str:
        return f"Settings(data_dir={str(self.data_dir)!r})"  # others may hold a key or a password

    def resolved_database_url(self) -> str:
        """The database to open."""
        return self.database_url or f"sqlite:///{self.data_dir / 'bellwire.db'}"

    def resolved_public_url(self) -> str:
        """The hub's own address, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment. Raises SettingsError for a value of the wrong type or an unknown `BELLWIRE_` name."""
    source = os.environ if environ is None else environ
    names = {f"BELLWIRE_{field.upper()}": field for field in Settings.__struct_fields__}
    unknown = sorted(name for name in source if name.startswith("BELLWIRE_") and name not in names)
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]}; known are: {', '.join(sorted(names))}")
    raw = {field: source[name] for name, field in names.items() if name in source}
    try:
        return msgspec.convert(raw, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(_in_words(str(error))) from error


def make_data_dir(folder: Path) -> None:
    """Make the data folder where there is none. Raises SettingsError when that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise SettingsError(f"the folder {folder} cannot be made: {reason}; see BELLWIRE_DATA_DIR") from error


def _in_words(complaint: str) -> str:
    """msgspec's complaint with the variable's name in front and what it is for behind; never with the value."""
    reason, _, place = complaint.partition(" - at `$.")
    field = place.rstrip("`")
    declared = get_type_hints(Settings, include_extras=True)[field]
    [meta] = declared.__metadata__
    if "regex" in reason:
        reason = "it does not have the right form"
    elif "enum" in reason:
        reason = f"it is none of {', '.join(get_args(declared.__origin__))}"
    return f"BELLWIRE_{field.upper()} is not usable: {reason[0].lower()}{reason[1:]}. It means: {meta.description}"


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)
