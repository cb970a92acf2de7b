"""Writing files so that neither a reader nor a killed process leaves half of one."""

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]+\.tmp")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes `path`'s place, flushed to disk, when all went well.

    Where something was raised, nothing is left of it, and `path` is as it was. What processes
    that were killed have left in the folder is removed first.

    Raises:
        OSError: It cannot be written, as when the disk is full.
    """
    remove_leftovers(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with _new_locked(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def _new_locked(path: Path) -> BinaryIO:
    """A new file that `remove_leftovers` leaves alone; again if it was quicker than the lock."""
    while True:
        file = path.open("xb")  # unlike `tempfile`'s, of the mode that the umask gives
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return file
        file.close()


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while they wrote into a folder left there.

    A file that is being written is locked by its writer. Where a file system has no locks, nothing
    is removed.
    """
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        found = [e.path for e in entries if _TEMPORARY.fullmatch(e.name)]
        for path in found:
            with suppress(OSError), open(path, "r+b", opener=_without_links) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Path(path).unlink()


def _without_links(path: str, flags: int) -> int:
    """Opens neither a link nor, for long, a FIFO that stands in a file's place."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


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
