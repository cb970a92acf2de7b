"""Copying files between a folder and an object store, in either direction."""

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
"""The tolerance in seconds, because a file system may round times."""
_SETTLED_SECONDS = 60.0
"""The age from which an object with an unchanged time is unchanged: no store's clock is so wrong.

A store may report times in whole seconds, and an object can be rewritten within a second.
"""


def publish(store: ObjectStore, root: Path, path: Path) -> None:
    """Upload a file or folder under `root`, and delete what the folder no longer has.

    Hidden files are left out: they are locks, or incomplete.

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
    """Download these objects of the store; files that are current are left unchanged.

    Raises:
        StoreError: if the store cannot be read.
    """
    each(lambda item: _download(store, root / item[0], *item), found)


def refresh(store: ObjectStore, root: Path, file: Path) -> None:
    """Update a file under `root` from the store, or remove it if the store does not have it.

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
    """Download what a folder under `root` lacks from the store; existing files are left unchanged.

    Raises:
        StoreError: if the store cannot be read.
    """
    found = store.list(folder.relative_to(root).as_posix())
    download(store, root, [item for item in found.items() if not (root / item[0]).exists()])


def visible_files(folder: Path) -> list[Path]:
    """All files below a folder, without hidden files and compiled Python code.

    Raises:
        UntrustedFileError: if there is a link or a special file, which is never uploaded.
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
    """Apply an action to each item, several at a time, because waiting for the store dominates."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for _ in pool.map(action, items):
            pass


def _download(store: ObjectStore, file: Path, name: str, found: Stored) -> None:
    """Fetch an object, unless the file has the same size and time and so was fetched before.

    An object that was written within the last minute is fetched again, as it may have changed.
    """
    if file.is_file():
        has = file.stat()
        if has.st_size == found.size and abs(has.st_mtime - found.written_at) < _SAME_TIME:
            return
    file.parent.mkdir(parents=True, exist_ok=True)
    if store.download(name, file):
        is_settled = found.written_at < time.time() - _SETTLED_SECONDS
        time_of_file = found.written_at if is_settled else found.written_at - 1  # fetched again
        os.utime(file, (time_of_file, time_of_file))
