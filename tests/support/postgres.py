"""A private PostgreSQL server for the tests: started on a Unix socket in a temporary folder, thrown away afterwards."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

_FOLDERS = [*map(Path, os.environ.get("PATH", "").split(os.pathsep)), *Path("/usr/lib/postgresql").glob("*/bin")]
_USERS_FOR_ROOT = ("postgres", "nobody")
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # the data lives as long as the test run
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "40",
    "shared_buffers": "32MB",
}


class PostgresMissing(Exception):
    """No server can be started here; the message says why."""


class PostgresServer:
    """A running server; every database it hands out is new."""

    def __init__(self, folder: Path, control: Callable[..., None]) -> None:
        self._folder = folder
        self._control = control
        self._numbers = itertools.count(1)

    def create_database(self, template: str = "template1") -> str:
        """A new database as SQLAlchemy URL; `template` is the name of one to copy, with nobody connected to it."""
        name = f"test_{next(self._numbers)}"
        self._administer("CREATE DATABASE {} TEMPLATE {}", name, template)
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"

    def stop(self, mode: str = "immediate") -> None:
        """End the server, by default as a crash does; `start` brings it back."""
        self._control("stop", mode)

    def start(self) -> None:
        self._control("start")

    def pid(self) -> int:
        """Process id of the postmaster."""
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def ping(self) -> None:
        """Connect once. Raises psycopg.OperationalError."""
        psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", connect_timeout=5).close()

    def drop_database(self, url: str) -> None:
        """Remove a database, its connections too."""
        self._administer("DROP DATABASE {} WITH (FORCE)", database_name(url))

    def _administer(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def database_name(url: str) -> str:
    """The database that a URL of `create_database` names."""
    return url.split("@/", 1)[1].split("?", 1)[0]


@contextmanager
def running_postgres(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """Start a server, as another user where we are root (PostgreSQL refuses root). Raises PostgresMissing.

    `settings` go before ours, which are for tests that do not mind losing all when the server dies.
    """
    initdb, pg_ctl = _binary("initdb"), _binary("pg_ctl")
    user = _user_for_root() if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="bw-pg-", dir="/tmp"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    data, log = folder / "data", folder / "log"
    chosen = {**_SETTINGS, **(settings or {}), "unix_socket_directories": str(folder)}
    options = " ".join(f"-c {name}='{value}'" for name, value in chosen.items())

    def control(verb: str, mode: str = "immediate") -> None:
        if verb == "start":
            _run(user, pg_ctl, "-D", data, "-l", log, "-o", options, "-w", "-t", "60", "start")
        else:
            _run(user, pg_ctl, "-D", data, "-m", mode, "-w", "stop")

    try:
        _run(user, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        control("start")
        try:
            yield PostgresServer(folder, control)
        finally:
            control("stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binary(name: str) -> Path:
    for folder in _FOLDERS:
        if os.access(folder / name, os.X_OK):
            return folder / name
    raise PostgresMissing(f"PostgreSQL's {name} is not installed here (Debian: apt-get install postgresql)")


def _user_for_root() -> pwd.struct_passwd:
    for name in _USERS_FOR_ROOT:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissing("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _run(user: pwd.struct_passwd | None, *command: str | Path) -> None:
    # A server that inherits our pipes would keep them open: its output goes nowhere, its log to a file.
    done = subprocess.run(
        command,
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
        cwd="/",
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise PostgresMissing(f"{Path(command[0]).name} ended with status {done.returncode}")
