"""The small files in one folder, or under one URL of an object store, which may be untrusted."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from toprung.analysis.sweep_folder.files import write_atomically
from toprung.trainables.files.atomic_files import flush_folder
from toprung.trainables.files.object_store import ObjectStore
from toprung.trainables.files.untrusted_files import inside, read_bytes

_AT_A_TIME = 16


class SmallFiles:
    """Files that are written once, each atomically, and never changed.

    Args:
        place: a folder, which need not exist and must not be a link; or a location in an object
            store.
    """

    def __init__(self, place: Path | ObjectStore) -> None:
        self._place = place

    def __str__(self) -> str:
        return str(self._place)

    def names(self) -> list[str]:
        """The names of the existing files; empty if there is no such folder.

        Raises:
            OSError: if they cannot be listed.
        """
        if isinstance(self._place, ObjectStore):
            return [name for name in self._place.list() if "/" not in name]
        inside(self._place.parent, self._place)
        try:
            return [path.name for path in self._place.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read_all(self, names: Sequence[str], most_bytes: int) -> Iterator[tuple[str, bytes | None]]:
        """The content of each file; None if it is too large, not a regular file, or was removed.

        Raises:
            OSError: if the store cannot be read.
        """
        place = self._place
        if not isinstance(place, ObjectStore):
            for name in names:
                yield name, _read_plain(place / name, most_bytes)
            return
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            found = pool.map(partial(_read_object, place, most_bytes), names)
            yield from zip(names, found, strict=True)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, durably even if power is lost; the folder is created.

        Raises:
            OSError: if it cannot be written.
        """
        if isinstance(self._place, ObjectStore):
            self._place.write(name, content)
            return
        inside(self._place.parent, self._place)
        if not self._place.is_dir():
            self._place.mkdir(parents=True, exist_ok=True)
            flush_folder(self._place.parent)
        write_atomically(self._place / name, content)


def _read_plain(path: Path, most_bytes: int) -> bytes | None:
    try:
        return read_bytes(path, most_bytes)
    except OSError:
        return None


def _read_object(store: ObjectStore, most_bytes: int, name: str) -> bytes | None:
    found = store.find(name)
    return store.read(name) if found is not None and found.size <= most_bytes else None
