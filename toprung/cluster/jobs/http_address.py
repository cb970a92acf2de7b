"""The address of a cluster's job server: given with `--address`, or in a variable of Ray's."""

import os
from urllib.parse import urlsplit

from toprung.errors import ToprungError

API_SERVER = "RAY_API_SERVER_ADDRESS"
_VARIABLES = (API_SERVER, "RAY_ADDRESS")


def is_http(address: str) -> bool:
    """Whether it is meant as that of a job server."""
    return address.startswith(("http://", "https://"))


def address_of_environment() -> str | None:
    """The first of the variables that names a job server; None if none does."""
    values = [os.environ.get(name, "") for name in _VARIABLES]
    return next(filter(is_http, values), None)


def http_address(given: str | None) -> str:
    """The address of the job server, from `--address` or the variables that Ray knows.

    Raises:
        ToprungError: if there is none, or it is that of something else.
    """
    address = given or address_of_environment()
    if address is None:
        named = [(name, os.environ[name]) for name in _VARIABLES if os.environ.get(name)]
        others = "".join(f" ({name}={value} is not http)" for name, value in named)
        raise ToprungError(
            "give the cluster's job server: --address http://HOST:8265, or set "
            f"RAY_API_SERVER_ADDRESS{others}"
        )
    if not is_http(address):
        raise ToprungError(
            f"address = {address}: here it must be that of the job server, http://HOST:8265; "
            "auto, HOST:6379 and ray://HOST:10001 go with toprung run and toprung resume"
        )
    _check_parts(address)
    return address.rstrip("/")


def _check_parts(address: str) -> None:
    """See that it names a host, and holds no secret that would be shown with it."""
    if "@" in address:
        raise ToprungError("address: leave user and password out; a cluster asks for Ray's token")
    if "?" in address or "#" in address:
        raise ToprungError(
            "address: leave out what begins with ? or #; it must be http://HOST:8265. A cluster's "
            "token is taken from RAY_AUTH_TOKEN or its file"
        )
    try:
        parts = urlsplit(address)
        is_whole = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # a port that is no number, a name that no host can have
        is_whole = False
    if not is_whole or any(letter.isspace() for letter in address):
        raise ToprungError(f"address = {address}: must be http://HOST:PORT (usually port 8265)")
