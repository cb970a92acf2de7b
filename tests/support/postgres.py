"""A PostgreSQL server of the tests' own, on 127.0.0.1, from the machine's own installation."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_USER = "toprung"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # the path of a socket may not be long
    "fsync": "off",  # the data need not outlive the machine
}


def programs() -> Path:
    """The folder of PostgreSQL's programs: Debian's newest, or that of `postgres` on the PATH.

    Raises:
        RuntimeError: if there is none.
    """
    if debian := list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        return max(debian, key=lambda path: int(path.parts[-3])).parent
    if on_path := shutil.which("postgres"):
        return Path(on_path).resolve().parent
    raise RuntimeError("no PostgreSQL: run `make test-programs`")


class PostgresServer:
    """A server that can be stopped and started again, and then has the same URL and data.

    Args:
        folder: for all it writes; it must belong to whoever runs the server (see `_as_user`).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self.password = secrets.token_urlsafe()
        """What must never be written down or shown."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._settings = {**_SETTINGS, "port": port}
        self.url = f"postgresql+psycopg://{_USER}:{self.password}@127.0.0.1:{port}/postgres"
        """The Optuna storage URL, with the password in it."""

    def create(self) -> None:
        """Make its data."""
        password = self._folder / "password"
        password.write_text(self.password)
        asks = ["--username", _USER, "--auth=scram-sha-256", "--pwfile", str(password)]
        self._run("initdb", *asks, "--no-sync", "--encoding=UTF8", "--locale=C")

    def start(self) -> None:
        """Start it; it answers when this returns."""
        options = " ".join(f"-c {name}='{value}'" for name, value in self._settings.items())
        self._run("pg_ctl", "start", "-w", "-l", str(self._folder / "log"), "-o", options)

    def stop(self) -> None:
        """End it at once, as a crash would; all connections are cut."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate")

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped since."""
        return (self._data / "postmaster.pid").exists()

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(programs() / program), "-D", str(self._data), *arguments]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, **_as_user()
        )
        if done.returncode != 0:
            log = self._folder / "log"
            said = log.read_text() if log.exists() else ""
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}{said}")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server that runs, and is ended and taken away at the end.

    Its folder is not among pytest's, which only the user that runs the tests can enter.
    """
    with tempfile.TemporaryDirectory(prefix="toprung-postgres-") as place:
        if _as_user():
            shutil.chown(place, "postgres")
        server = PostgresServer(Path(place))
        server.create()
        try:
            server.start()
            yield server
        finally:
            if server.runs:
                server.stop()


def _as_user() -> dict[str, Any]:
    """PostgreSQL refuses to be run by root; Debian's package has a user for it."""
    as_postgres = {"user": "postgres", "group": "postgres", "extra_groups": []}
    return as_postgres if os.geteuid() == 0 else {}
