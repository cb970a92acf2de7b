"""Paths that a user gave, and files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from trainables.data.errors import DataError

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


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """What is written into the stream becomes the file `path`, in one step at the end.

    It is written beside it, into `tmp-<random>-<its name>`. Where writing fails, that goes away and
    `path` stays as it was; only a killed process leaves it behind.
    """
    temp = path.with_name(f"{TEMP_PREFIX}{uuid4().hex}-{path.name}")
    try:
        with temp.open("xb") as stream:
            yield stream
            sync(stream)
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def sync(stream: BinaryIO) -> None:
    """Wait until what was written is on the disk."""
    stream.flush()
    os.fsync(stream.fileno())
