"""Resolving paths that a user wrote, and writing CSV files whole or not at all."""

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
    """The absolute path, with `~` replaced by the user's home.

    Args:
        path: The path that the user wrote.
        setting: The setting whose value it is, for the message.

    Raises:
        DataError: The user of `~user` is unknown.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise DataError(f"{setting} = {path!r} is not a path: {error}") from error


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file in one step, whole or not at all.

    File names need not be UTF-8; their bytes are written as they are.

    Raises:
        OSError: It cannot be written.
    """
    with atomic_file(path) as stream:
        writer = csv.writer(codecs.getwriter("utf-8")(stream, "surrogateescape"))
        writer.writerow(header)
        writer.writerows(rows)


def sync(stream: BinaryIO) -> None:
    """Flush what was written to the disk."""
    stream.flush()
    os.fsync(stream.fileno())
