"""Object stores, such as S3, in which a sweep can be kept instead of in a folder.

Credentials come from the environment or the machine, never from a URL: sweeps record their URL.
"""

import posixpath
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from toprung.trainables.files.atomic_files import atomic_file
from toprung.trainables.files.conditional_write import NotPossibleError, write_if_unchanged

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

T = TypeVar("T")

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
_NAME = r"[A-Za-z0-9._-]+"
_BUCKET = re.compile(_NAME)
_AZURE = re.compile(rf"({_NAME}@)?{_NAME}(:\d+)?")
"""Azure: the container may precede the account."""
_IN_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
OPTIONS = (
    *("region", "scheme", "endpoint_override", "project_id", "retry_limit_seconds"),
    *("enable_tls", "blob_storage_authority", "dfs_storage_authority", "client_id", "tenant_id"),
)
"""The options allowed in a URL's query: those of pyarrow's that are not secrets."""
_FOR_GOOD = re.compile(
    r"NO_SUCH_BUCKET|NoSuchBucket|ContainerNotFound|bucket does not exist|invalid bucket name"
    r"|ACCESS_DENIED|AccessDenied|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|UNRECOGNIZED_CLIENT"
    r"|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch|ExpiredToken|PERMISSION_DENIED"
    r"|UNAUTHENTICATED|Permission denied|does not have storage\.|AuthenticationFailed"
    r"|AuthorizationFailure|AuthorizationPermissionMismatch|HTTP status 40[013]",
    re.IGNORECASE,
)
"""Errors that waiting does not resolve: wrong names, wrong credentials, missing permissions."""
_LEAVE_OUT = (
    "leave the credentials out of the URL, because the sweep records it; they are taken from the "
    "environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from the machine"
)
_PIECE = 2**22
"""Bytes that are read at a time."""
SECONDS_TO_SETTLE = 2.0
"""After this time, two processes that wrote an object at once both see which one wrote last."""


class StoreError(OSError, ValueError):
    """A store that cannot be used; the message names the URL and the reason.

    Attributes:
        may_pass: whether the problem may be temporary, so that waiting may help.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


@dataclass(frozen=True)
class Stored:
    """An object as the store lists it: its size in bytes, and when it was written."""

    size: int
    written_at: float
    """In seconds since 1970, by the store's clock."""


def is_url(place: object) -> bool:
    """Whether the location that a user gave is a URL rather than a path."""
    return isinstance(place, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", place) is not None


def check_url(url: str) -> None:
    """Check that a URL is an object store's and contains no credentials, without using the store.

    Raises:
        StoreError: if the URL is refused; the message does not repeat what may be a secret.
    """
    scheme = url.partition("://")[0]
    try:
        parts = urlsplit(url)
    except ValueError:
        raise StoreError(f"{scheme}://…: is not a URL") from None
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise StoreError(f"{parts.scheme}://…: is not a supported object store; choose {known}")
    if not parts.netloc:
        raise StoreError(f"{parts.scheme}://…: has no bucket")
    if not (_AZURE if parts.scheme.startswith("abfs") else _BUCKET).fullmatch(parts.netloc):
        raise StoreError(
            f"{parts.scheme}://…: after {parts.scheme}:// only the name of a bucket is allowed; "
            f"{_LEAVE_OUT}"
        )
    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    options = parse_qsl(parts.query, keep_blank_values=True)
    if any(name not in OPTIONS or "@" in value for name, value in options):
        raise StoreError(
            f"{place}?…: the options allowed after the ? are {', '.join(OPTIONS)}; {_LEAVE_OUT}"
        )
    if "#" in url or not _IN_PATH.fullmatch(parts.path) or re.search(r"\s", url):
        raise StoreError(
            f"{place}: is not a whole URL; write special characters as %20 for a space, %23 for #"
        )


def url_within(url: str, name: str) -> str:
    """The URL of a name (with slashes) under a URL; a query stays at the end."""
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/{quote(name)}"
    return parts._replace(path=path).geturl()


class ObjectStore:
    """A prefix in an object store, and the objects under it. Names are relative, with slashes.

    Args:
        url: such as `s3://bucket/prefix`.

    Raises:
        StoreError: for a URL of another kind, or one that contains credentials.
    """

    def __init__(self, url: str) -> None:
        check_url(url)
        parts = urlsplit(url)
        self.url = parts._replace(path=parts.path.rstrip("/")).geturl()
        self._knows_conditions = True
        self._connection  # noqa: B018  # an unusable URL is reported at once

    def __reduce__(self) -> tuple[type["ObjectStore"], tuple[str]]:
        return ObjectStore, (self.url,)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the URL's path."""
        return unquote(posixpath.basename(urlsplit(self.url).path))

    @property
    def parent(self) -> "ObjectStore":
        """The store at the parent of this prefix."""
        parts = urlsplit(self.url)
        return ObjectStore(parts._replace(path=posixpath.dirname(parts.path)).geturl())

    def within(self, name: str) -> "ObjectStore":
        """The store at the prefix with this name under this one."""
        return ObjectStore(url_within(self.url, name))

    def has_bucket(self) -> bool:
        """Whether the bucket of the URL exists; prefixes in it need not be created."""
        bucket = self._connection[1].partition("/")[0]
        return self._do("use", "", lambda files, _: not _is_missing(files.get_file_info(bucket)))

    def exists(self, name: str) -> bool:
        """Whether there is an object with this name."""
        return self.find(name) is not None

    def find(self, name: str) -> Stored | None:
        """The store's entry of an object; None if there is none."""
        info = self._do("read", name, lambda files, path: files.get_file_info(path))
        return Stored(info.size, info.mtime.timestamp()) if info.is_file else None

    def list(self, under: str = "") -> dict[str, Stored]:
        """All objects under a name, however deep, by their names relative to this prefix.

        Raises:
            StoreError: if a name would lead out of the folder to which an object is downloaded.
        """
        from pyarrow.fs import FileSelector

        root = self._connection[1]

        def listed(files: "FileSystem", path: str) -> dict[str, Stored]:
            selector = FileSelector(path, recursive=True, allow_not_found=True)
            return {
                posixpath.relpath(info.path, root): Stored(info.size, info.mtime.timestamp())
                for info in files.get_file_info(selector)
                if info.is_file
            }

        found = self._do("list", under, listed)
        for name in found:
            if ".." in name.split("/"):
                raise StoreError(f"{self.url}: has an object {name!r}, whose name leads out of it")
        return found

    def read(self, name: str) -> bytes | None:
        """An object's content; None if there is none."""

        def content(files: "FileSystem", path: str) -> bytes:
            with files.open_input_stream(path) as stream:
                return bytes(stream.read())

        return self._unless_missing(name, content)

    def download(self, name: str, to: Path) -> bool:
        """Write an object's content to a file, whole or not at all; False if there is none."""

        def copied(files: "FileSystem", path: str) -> bool:
            with files.open_input_stream(path) as stream, atomic_file(to) as file:
                while piece := stream.read(_PIECE):
                    file.write(piece)
            return True

        return self._unless_missing(name, copied) or False

    def write(self, name: str, content: bytes) -> None:
        """Write an object, or replace the one with this name, whole or not at all."""
        self._do("write", name, lambda files, path: _put(files, path, content))

    def write_if_absent(self, name: str, content: bytes) -> bool:
        """Write an object if there is none with this name; see `write_if_unchanged`."""
        return self.write_if_unchanged(name, None, content)

    def write_if_unchanged(self, name: str, before: bytes | None, after: bytes) -> bool:
        """Write an object if its content is still `before`; of several writers, one succeeds.

        If the store does not support conditional requests, or its credentials cannot be used for
        them (see `toprung.trainables.files.conditional_write`), the object is written, and read
        again after `SECONDS_TO_SETTLE`. That is equally safe unless another writer takes longer.

        Args:
            name: the object's name.
            before: the expected content; None if there should be no such object.
            after: the new content, which must differ from that of every other process.

        Returns:
            Whether this process wrote it.

        Raises:
            StoreError: if the store cannot be read or written.
        """
        files, _ = self._connection
        if not self._knows_conditions:
            return self._write_and_settle(name, before, after)
        try:
            written = write_if_unchanged(
                self.url, getattr(files, "region", None), name, before, after
            )
        except NotPossibleError:
            self._knows_conditions = False  # not tried again: finding credentials takes seconds
            return self._write_and_settle(name, before, after)
        # If the answer to a first try was lost, the retry was refused because the first succeeded.
        return written or self.read(name) == after

    def _write_and_settle(self, name: str, before: bytes | None, after: bytes) -> bool:
        if self.read(name) not in (before, after):
            return False
        self.write(name, after)
        time.sleep(SECONDS_TO_SETTLE)
        return self.read(name) == after

    def upload(self, file: Path, name: str) -> None:
        """Write a file's content to an object. The file must not be truncated meanwhile."""
        import pyarrow as pa

        # In one piece: an error between two pieces would leave the first one in the store.
        with pa.memory_map(str(file)) as mapped:
            content = mapped.read_buffer()
            self._do("write", name, lambda files, path: _put(files, path, content))

    def delete(self, name: str) -> None:
        """Delete an object, if there is one."""
        self._unless_missing(name, lambda files, path: files.delete_file(path))

    def delete_all(self) -> None:
        """Delete all objects under this prefix."""
        self._unless_missing("", lambda files, path: files.delete_dir(path))

    def check_writable(self) -> float:
        """Write a small object, read it back and delete it.

        Returns:
            The time of the store's clock, in seconds since 1970.

        Raises:
            StoreError: if any of these steps fails.
        """
        import secrets

        name, content = f".toprung-{secrets.token_hex(8)}", secrets.token_bytes(16)
        self.write(name, content)
        written, found = self.find(name), self.read(name)
        self.delete(name)
        if written is None or found != content:
            raise StoreError(f"{self.url}: an object that was written cannot be read back")
        return written.written_at

    @cached_property
    def _connection(self) -> tuple["FileSystem", str]:
        from pyarrow.fs import FileSystem

        url = self.url
        if url.startswith("s3:"):  # so that a small object takes one request instead of three
            url += f"{'&' if urlsplit(url).query else '?'}allow_delayed_open=true"
        try:
            files, path = FileSystem.from_uri(url)
        except (ValueError, OSError, NotImplementedError) as error:
            raise self._error("use", "", error) from None
        if not path.strip("/"):
            raise StoreError(f"{self.url}: has no bucket")
        return files, path

    def _unless_missing(self, name: str, action: Callable[["FileSystem", str], T]) -> T | None:
        try:
            return self._do("use", name, action)
        except FileNotFoundError:
            return None

    def _do(self, verb: str, name: str, action: Callable[["FileSystem", str], T]) -> T:
        files, root = self._connection
        try:
            return action(files, posixpath.join(root, name) if name else root)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno is not None:  # an error of this machine's disk
                raise
            raise self._error(verb, name, error) from None

    def _error(self, verb: str, name: str, error: Exception) -> StoreError:
        reason = _in_a_line(error)
        what = url_within(self.url, name) if name else self.url
        may_pass = isinstance(error, OSError) and _FOR_GOOD.search(reason) is None
        return StoreError(f"{what}: cannot {verb} it: {reason}", may_pass=may_pass)


def _is_missing(info: "FileInfo") -> bool:
    from pyarrow.fs import FileType

    return bool(info.type == FileType.NotFound)


def _put(files: "FileSystem", path: str, content: Any) -> None:
    with files.open_output_stream(path) as stream:
        stream.write(content)


def _in_a_line(error: Exception) -> str:
    """The store's message in one line, without request IDs."""
    text = " ".join(str(error).split())
    return re.sub(r"\s*\(Request ID: [^)]*\)", "", text)[:400]
