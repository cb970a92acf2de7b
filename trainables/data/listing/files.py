"""Paths that a user gave, and files that are whole or not there."""

import codecs
import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from toprung.trainables.data.listing.errors import DataError
from toprung.trainables.files.atomic_files import atomic_file

TEMP_PREFIX = "tmp-"


def absolute(path: str, setting: str) -> Path:
    """The path as it is valid from any working folder, `~` replaced by the user's home.

    Args:
        path: As the user wrote it.
        setting: Whose value it is.

    Raises:
        DataError: The user of `~user` is unknown.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise DataError(f"{setting} = {path!r} is no path: {error}") from error


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file in one step; the file is whole or not there.

    File names need not be UTF-8; their bytes are written as they are.

    Raises:
        OSError: It cannot be written.
    """
    with atomic_file(path) as stream:
        writer = csv.writer(codecs.getwriter("utf-8")(stream, "surrogateescape"))
        writer.writerow(header)
        writer.writerows(rows)


def sync(stream: BinaryIO) -> None:
    """Wait until what was written is on the disk."""
    stream.flush()
    os.fsync(stream.fileno())
