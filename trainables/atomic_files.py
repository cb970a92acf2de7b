"""Writing files so that neither a reader nor a killed process leaves half of one."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = ".tmp"


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes `path`'s place, flushed to disk, when all went well.

    Where something was raised, nothing is left of it, and `path` is as it was.

    Raises:
        OSError: It cannot be written, as when the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        with temporary.open("xb") as file:  # unlike `tempfile`'s, of the mode that the umask gives
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote to `path` left beside it.

    Nobody else may be writing to it now.
    """
    for temporary in path.parent.glob(f".{escape(path.name)}.*{_TEMPORARY}"):
        temporary.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Let the new names in a folder outlive a loss of power too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems know no such thing
            raise
    finally:
        os.close(handle)
