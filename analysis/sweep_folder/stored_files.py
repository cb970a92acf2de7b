"""A folder's files and an object store's, brought to agree, one way or the other."""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from toprung.trainables.files.object_store import ObjectStore, Stored
from toprung.trainables.files.untrusted_files import files_within

T = TypeVar("T")

_AT_A_TIME = 16
_SAME_TIME = 0.001
"""Seconds: a file system may round them."""
_SETTLED_SECONDS = 60.0
"""After that, an object of the same time is the same: no store's clock is as wrong as that.

A store may tell whole seconds, and an object can be written again within one.
"""


def publish(store: ObjectStore, root: Path, path: Path) -> None:
    """Let the store have of a file or folder under `root` what is there, and no more.

    Hidden files are left out: they are locks, or half-written.

    Raises:
        StoreError: if the store cannot be written.
    """
    name = path.relative_to(root).as_posix()
    if path.is_file():
        store.write(name, path.read_bytes())
        return
    files = {file.relative_to(root).as_posix(): file for file in visible_files(path)}
    each(lambda item: store.write(item[0], item[1].read_bytes()), files.items())
    each(store.delete, store.list(name).keys() - files.keys())


def download(store: ObjectStore, root: Path, found: Iterable[tuple[str, Stored]]) -> None:
    """Let the folder have these of the store's objects; those that it has stay as they are.

    Raises:
        StoreError: if the store cannot be read.
    """
    each(lambda item: _download(store, root / item[0], *item), found)


def refresh(store: ObjectStore, root: Path, file: Path) -> None:
    """Let a file under `root` be as it is in the store, or gone if it is not there.

    Raises:
        StoreError: if the store cannot be read.
    """
    name = file.relative_to(root).as_posix()
    found = store.find(name)
    if found is None:
        file.unlink(missing_ok=True)
    else:
        _download(store, file, name, found)


def complete(store: ObjectStore, root: Path, folder: Path) -> None:
    """Let a folder under `root` have what the store has there; what it has itself stays as it is.

    Raises:
        StoreError: if the store cannot be read.
    """
    found = store.list(folder.relative_to(root).as_posix())
    download(store, root, [item for item in found.items() if not (root / item[0]).exists()])


def visible_files(folder: Path) -> list[Path]:
    """The files under a folder, however deep, but for hidden ones and what Python compiled.

    Raises:
        UntrustedFileError: if there is a link or a special file: it is not sent anywhere.
    """
    if not folder.is_dir():
        return []
    files = ((path, path.relative_to(folder).parts) for path in files_within(folder))
    return [
        path
        for path, parts in files
        if not any(part.startswith(".") or part == "__pycache__" for part in parts)
    ]


def each(action: Callable[[T], object], items: Iterable[T]) -> None:
    """Do it to each, several at a time: what takes long is waiting for the store."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for _ in pool.map(action, items):
            pass


def _download(store: ObjectStore, file: Path, name: str, found: Stored) -> None:
    """Fetch an object, unless it is the file that was fetched before: of its size and time.

    One that was written within the last minute is fetched again, for it may be another.
    """
    if file.is_file():
        has = file.stat()
        if has.st_size == found.size and abs(has.st_mtime - found.written_at) < _SAME_TIME:
            return
    file.parent.mkdir(parents=True, exist_ok=True)
    if store.download(name, file):
        is_settled = found.written_at < time.time() - _SETTLED_SECONDS
        told = found.written_at if is_settled else found.written_at - 1  # so it is fetched again
        os.utime(file, (told, told))
