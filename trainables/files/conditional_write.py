"""Writing an object in a store only if it has not changed: of several writers, one succeeds.

This takes conditional requests (`If-None-Match: *`, `If-Match`), which obstore supports and pyarrow
does not. obstore takes credentials from the environment or the machine's metadata service; here it
also gets the keys in the user's credentials file. It cannot use pyarrow's other sources, such as a
single sign-on.
"""

import configparser
import os
import posixpath
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig
    from obstore.store import ObjectStore as Store

_QUICK: "RetryConfig" = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}
_CLIENT: "ClientConfig" = {"connect_timeout": "3s", "timeout": "10s"}
"""Short timeouts: the caller has a fallback."""
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_SCHEMES = {"gcs": "gs"}
"""obstore's names of the schemes that it calls differently."""


class NotPossibleError(Exception):
    """The store does not support such requests, was unreachable, or its answer was lost."""


def write_if_unchanged(
    url: str, region: str | None, name: str, before: bytes | None, after: bytes
) -> bool:
    """Write an object if its content is still `before`.

    Args:
        url: the URL of an object store; see `ObjectStore`.
        region: the region of the bucket, if the store has regions.
        name: the object's name, relative to the URL.
        before: the expected content; None if there should be no such object.
        after: the new content.

    Returns:
        Whether this call wrote the object.

    Raises:
        NotPossibleError: if the outcome is unknown; the object may have been written.
    """
    # Not at the top: reading a sweep does not need it.
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        store = _connected(url, region)
        path = posixpath.join(unquote(urlsplit(url).path).strip("/"), name)
        condition = _condition(store, path, before)
        if condition is None:
            return False
        _put(store, path, after, condition)
    except (AlreadyExistsError, PreconditionError):
        return False
    except (BaseError, OSError, NotImplementedError, ValueError) as error:
        raise NotPossibleError(str(error)) from None
    _check_honoured(store, path, after, condition)
    return True


def _condition(store: "Store", path: str, before: bytes | None) -> Any:
    """The condition of the request; None if the object has changed already.

    The object is read even if there should be none: a store that ignores conditions would replace
    it.
    """
    import obstore

    try:
        found = obstore.get(store, path)
    except FileNotFoundError:
        return "create" if before is None else None
    if before is None or bytes(found.bytes()) != before:
        return None
    known = {name: found.meta.get(name) for name in ("e_tag", "version")}
    return {name: value for name, value in known.items() if value is not None}


def _put(store: "Store", path: str, content: bytes, condition: Any) -> None:
    import obstore

    obstore.put(store, path, content, mode=condition, use_multipart=False)


def _check_honoured(store: "Store", path: str, content: bytes, condition: Any) -> None:
    """Check that the store refuses the same request now: some stores ignore conditions.

    Raises:
        NotPossibleError: if it does not refuse it.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        _put(store, path, content, condition)
    except (AlreadyExistsError, PreconditionError):
        return
    except BaseError as error:
        raise NotPossibleError(str(error)) from None
    raise NotPossibleError("the store ignores conditions")


def _connected(url: str, region: str | None) -> "Store":
    from obstore.store import S3Store, from_url

    parts = urlsplit(url)
    if parts.scheme != "s3":
        root = parts._replace(scheme=_SCHEMES.get(parts.scheme, parts.scheme), path="", query="")
        return from_url(root.geturl(), retry_config=_QUICK, client_options=_CLIENT)
    endpoint = _endpoint(dict(parse_qsl(parts.query)))
    asked = {"region": region, "endpoint": endpoint, **_keys_in_file()}
    config: Any = {name: value for name, value in asked.items() if value}
    return S3Store(
        parts.netloc,
        config=config,
        retry_config=_QUICK,
        client_options={**_CLIENT, "allow_http": endpoint.startswith("http:")},
    )


def _endpoint(options: dict[str, str]) -> str:
    """The URL of the service, found as pyarrow does; empty for AWS itself."""
    named = options.get("endpoint_override") or next(
        filter(None, map(os.environ.get, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))), ""
    )
    return named if not named or "://" in named else f"{options.get('scheme', 'https')}://{named}"


def _keys_in_file() -> dict[str, str]:
    """The keys in the user's credentials file; none if the environment has keys."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return {}
    file = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    parser = configparser.RawConfigParser()
    with suppress(OSError, ValueError, configparser.Error):
        parser.read(Path(file).expanduser(), "utf-8")
    profile = os.environ.get("AWS_PROFILE") or "default"
    found = parser[profile] if parser.has_section(profile) else {}
    return {name: value for name, value in found.items() if name in _KEYS}
