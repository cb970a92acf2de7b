"""The cache folder of stores and scans, shared by all sweeps of a user on one machine.

<cache>/stores/<digest>-<form>/   decoded images, found by their content
<cache>/scans/<key>.json          a source's content when last read, found without reading images
<cache>/scans/<key>.lock          held while that source is being read
<cache>/stores/tmp-<key>/         an unfinished store
<cache>/activations/              see `toprung.trainables.frozen_features.cache`
<cache>/datasets/                 the files of data sets known by name, if data/root is not set
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from toprung.trainables.data.listing.errors import DataError
from toprung.trainables.data.listing.files import TEMP_PREFIX
from toprung.trainables.files.atomic_files import atomic_file

CACHE_VARIABLE = "TOPRUNG_CACHE_DIR"
LIMIT_VARIABLE = "TOPRUNG_CACHE_LIMIT_GB"
DEFAULT_LIMIT_GB = 20.0


def cache_dir() -> Path:
    """The environment variable `TOPRUNG_CACHE_DIR`, or else the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("toprung"))


def limit_bytes() -> int:
    """The size limit of the activations in the cache, in bytes: `TOPRUNG_CACHE_LIMIT_GB`.

    Raises:
        DataError: if the user set it to something that is not a size.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT_GB))
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise DataError(f"{LIMIT_VARIABLE}={text}: must be a number of gigabytes, 0 or above")
    return int(limit * 1e9)


def digest_of(value: object) -> str:
    """A short digest of any value that JSON can represent."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


class Cache:
    """The layout of the cache folder. Nothing is created before something is written."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder or cache_dir()
        self.stores = self.folder / "stores"
        self.scans = self.folder / "scans"
        self.data_sets = self.folder / "datasets"

    def temp_folder(self, key: str) -> Path:
        """The folder in which the store of the scan `key` is built."""
        return self.stores / f"{TEMP_PREFIX}{key}"

    def read_scan(self, key: str) -> dict[str, Any] | None:
        """The scan that was written under `key`, or None."""
        try:
            scan: dict[str, Any] = json.loads((self.scans / f"{key}.json").read_text())
        except (OSError, ValueError):
            return None
        return scan

    def write_scan(self, key: str, scan: dict[str, Any]) -> None:
        """Replace the scan under `key`, in one step."""
        with atomic_file(self.scans / f"{key}.json") as stream:
            stream.write(json.dumps(scan).encode())

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Wait until no other process reads the same source; unfinished folders are removed.

        Raises:
            DataError: The cache folder cannot be used, or becomes full.
        """
        try:
            self.stores.mkdir(parents=True, exist_ok=True)
            self.scans.mkdir(exist_ok=True)
            self._remove_abandoned()
            with self._lock(key):
                yield
        except OSError as error:
            raise DataError(
                f"The cache folder {str(self.folder)!r} cannot be used: {error}. "
                f"Set {CACHE_VARIABLE} to a folder that can be written."
            ) from error

    def _lock(self, key: str, timeout: float = -1) -> FileLock:
        return FileLock(self.scans / f"{key}.lock", timeout=timeout)

    def _remove_abandoned(self) -> None:
        for temp in self.stores.glob(f"{TEMP_PREFIX}*"):
            try:
                with self._lock(temp.name.removeprefix(TEMP_PREFIX), timeout=0):
                    shutil.rmtree(temp, ignore_errors=True)
            except Timeout:
                continue  # not abandoned: another process is building it
