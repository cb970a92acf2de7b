"""Opening the database of a study, for every reader and writer.

The rule: no password is sent in clear text to another machine. Connections to PostgreSQL on other
machines are encrypted (libpq's `sslmode=require`), unless the user requests another mode, by
`PGSSLMODE` or in the URL given as `--storage`. Even then, or if a service file decides, a server
that requests the password in clear text is refused, unless `PGREQUIREAUTH` allows it. See
https://www.postgresql.org/docs/current/libpq-connect.html
"""

import getpass
import os
from collections.abc import Mapping
from importlib import import_module
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from toprung.analysis.sweep_folder.study_limits import LimitedConnection
from toprung.analysis.sweep_folder.study_place import StudyPlace

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy import URL

_WEAK_MODES = ("disable", "allow", "prefer")
"""Values of `sslmode` with which a connection may be unencrypted."""
_NEEDS_REQUIRE_AUTH = 160_000
"""The first version of libpq with `require_auth`."""
_LOCALHOST = {"host": "localhost,localhost", "hostaddr": "127.0.0.1,::1"}
"""The addresses of localhost, so that no name server is asked for them."""
_WAYS_ON = {
    "SSL was required": "a password is not sent unencrypted to another machine; turn TLS on at the "
    "server or, if you trust the network up to it, set PGSSLMODE=prefer",
    "authentication method requirement": "a password is not sent in clear text to another machine; "
    "let the server use scram-sha-256 or, if you trust the network up to it, set "
    "PGREQUIREAUTH=password",
}


def open_storage(place: StudyPlace) -> "RDBStorage":
    """Optuna's storage at a location to which the user has agreed, as checked by the caller.

    Raises:
        SQLAlchemyError, OptunaError, OSError: if it cannot be opened; see `reason`.
        ValueError: if its URL has a driver that cannot be configured to encrypt.
    """
    from optuna.storages import RDBStorage

    if place.file is not None:
        limited = {"connect_args": {"factory": LimitedConnection}}
        return RDBStorage(place.url, engine_kwargs=limited)
    from sqlalchemy import make_url

    url = with_driver(make_url(place.url))
    return RDBStorage(
        url.render_as_string(hide_password=False),
        engine_kwargs={"connect_args": connect_arguments(url)},
    )


def with_driver(url: "URL") -> "URL":
    """A URL of PostgreSQL with psycopg for its driver if it names none, as in SQLAlchemy 2.1.

    SQLAlchemy 2.0 would take psycopg2.
    """
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def reason(error: Exception) -> str:
    """A line that states why a database could not be used, and what helps.

    Optuna's own error hides the message of the database, which is in its cause.
    """
    from sqlalchemy.exc import SQLAlchemyError

    cause = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
    text = str(getattr(cause, "orig", cause)).strip()
    line = text.partition("\n")[0]
    way_on = next((way for part, way in _WAYS_ON.items() if part in text), "")
    return f"{line}; {way_on}" if way_on else line


def is_postgresql(url: str) -> bool:
    """Whether this is the URL of a PostgreSQL database, the only kind that a sweep uses."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).get_backend_name() == "postgresql"
    except (ArgumentError, ValueError):  # ValueError for a port that is not a number
        return False


def credentials_in_words(url: "URL") -> str:
    """A sentence for the user: the server of a connection, and the credentials it would receive."""
    server = " or ".join(hosts(url)) or "this machine's PostgreSQL"
    service = _asked(url, "service", "PGSERVICE")
    server = f"the server of the service {service!r}" if service else server
    user = url.username or _asked(url, "user", "PGUSER") or getpass.getuser()
    weak = _asked(url, "sslmode") in _WEAK_MODES
    how = ", over a connection that may be unencrypted" if weak else ""
    return (
        f"{server} would get the user name {user!r} and, if it asks, the password that PGPASSWORD "
        f"or ~/.pgpass has for it{how}"
    )


def connect_arguments(url: "URL") -> dict[str, Any]:
    """The options of libpq besides the URL, so that no password is sent in clear text.

    Raises:
        ValueError: for a connection to another machine by a driver without libpq.
    """
    service = _asked(url, "service", "PGSERVICE")
    servers = hosts(url)
    if not service and all(map(_is_this_machine, servers)):
        return dict(_LOCALHOST) if servers == ["localhost"] and url.host else {}
    mode = _asked(url, "sslmode", "PGSSLMODE")
    arguments: dict[str, Any] = {}
    if mode is None and not service:  # the service file may require more than this
        arguments["sslmode"] = "require"
    is_weak = mode in _WEAK_MODES or (mode is None and service is not None)
    if is_weak and _asked(url, "require_auth", "PGREQUIREAUTH") is None:
        if _libpq_version(url) >= _NEEDS_REQUIRE_AUTH:
            arguments["require_auth"] = "!password"
        elif mode is None:
            arguments["sslmode"] = "require"
    _libpq_version(url)  # raises for a driver that does not have these options
    return arguments


def hosts(url: "URL") -> list[str]:
    """Every host, address or socket that libpq would use, from a URL and the environment."""
    named = _listed(url.host) + _listed(_asked(url, "host"))
    named = named or _listed(os.environ.get("PGHOST"))
    return [*named, *_listed(_asked(url, "hostaddr", "PGHOSTADDR"))]


def _is_this_machine(host: str) -> bool:
    """Whether it is a loopback address, or a Unix socket's folder or abstract name."""
    if host == "localhost" or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # a name, which a name server may resolve to any machine


def _asked(url: "URL", option: str, variable: str | None = None) -> str | None:
    """The value of an option of libpq in the URL or in the user's environment."""
    query: Mapping[str, str | tuple[str, ...]] = url.query
    if option in query:
        value = query[option]
        return value if isinstance(value, str) else ",".join(value)
    return os.environ.get(variable) or None if variable else None


def _listed(text: str | None) -> list[str]:
    """Hosts in libpq's notation, separated by commas; each may have SQLAlchemy's `:port`."""
    return [_without_port(host) for host in (text or "").split(",") if host]


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if port.isdecimal() and ":" not in name else host


def _libpq_version(url: "URL") -> int:
    url = with_driver(url)
    if url.get_driver_name() == "psycopg":
        from psycopg import pq

        return pq.version()
    if url.get_driver_name() == "psycopg2":
        return int(import_module("psycopg2.extensions").libpq_version())
    raise ValueError(
        f"driver {url.get_driver_name()!r}: cannot be configured to encrypt; use postgresql+psycopg://"
    )
