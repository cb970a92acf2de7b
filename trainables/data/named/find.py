"""Finding a named data set below its root, and downloading it if the settings ask for it."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from toprung.trainables.data.listing.cache import Cache, digest_of
from toprung.trainables.data.listing.errors import DataError
from toprung.trainables.data.listing.files import absolute
from toprung.trainables.data.listing.image_list import Source
from toprung.trainables.data.named import NAMED_SETS
from toprung.trainables.data.named.named_set import MissingFilesError


def find_named(name: str, root: str | None, cache: Cache, *, download: bool) -> Source:
    """The images of the data set `name`.

    Args:
        name: One of `NAMED_SETS`.
        root: The folder of its files, or for the download; by default `datasets` in the cache.
        cache: The cache, whose locks let only one process download.
        download: Download the files if they are missing.

    Raises:
        DataError: The files are missing, cannot be read, are damaged or cannot be downloaded.
    """
    folder = absolute(root, "data/root") if root else cache.data_sets.absolute()
    try:
        return _open(name, folder)
    except MissingFilesError as missing:
        if not download:
            raise DataError(_not_there(name, folder, missing)) from missing
    with cache.locked(digest_of(["download", str(folder)])):
        try:
            # Another process may have downloaded it while this one waited for the lock.
            return _open(name, folder)
        except MissingFilesError:
            _download(name, folder)
    return _open(name, folder)


def _open(name: str, root: Path) -> Source:
    try:
        return NAMED_SETS[name].open(root)
    except OSError as error:
        raise DataError(
            f"The data set {name!r} in {str(root)!r} cannot be read: {error}."
        ) from error


def _not_there(name: str, root: Path, missing: MissingFilesError) -> str:
    named = NAMED_SETS[name]
    lines = [f"The data set {name!r} is not in {str(root)!r}. {missing}"]
    if named.download is None:
        lines.append(f"It cannot be downloaded from here. Get it by hand: {named.website}")
    else:
        lines.append(f"To download it there: --set data/download=true (from {named.website})")
    lines.append("If it is in another folder: --set data/root=FOLDER")
    if Path(name).is_dir():
        lines.append(f"To use the folder {name!r} of the working folder: write ./{name}")
    return "\n".join(lines)


def _download(name: str, root: Path) -> None:
    named = NAMED_SETS[name]
    assert named.download is not None  # data/download is refused for the others
    target = root / named.folder
    try:
        if target.is_dir() and any(target.iterdir()):
            raise DataError(
                f"The data set {name!r} cannot be downloaded into {str(target)!r}, which exists "
                "but lacks some of its files: remove or rename that folder."
            )
        root.mkdir(parents=True, exist_ok=True)
        # The folder gets its name when it is complete: an unfinished one would be taken for it.
        with TemporaryDirectory(prefix=".downloading-", dir=root) as temp:
            named.download(Path(temp))
            os.sync()  # thousands of files, which torchvision wrote without flushing them
            (Path(temp) / named.folder).rename(target)
    except (OSError, RuntimeError) as error:  # RuntimeError: torchvision found another checksum
        raise DataError(
            f"The data set {name!r} cannot be downloaded into {str(root)!r}: {error} "
            f"To get it by hand: {named.website}"
        ) from error
