"""Writing files in one step, so that no reader sees, and no killed process leaves, half a file."""

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
    """A context with a file to write to, which replaces `path` at the end, flushed to disk.

    If an exception is raised, the file is removed, and `path` is unchanged. Temporary files that
    killed processes have left in the folder are removed first.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
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
    """Create a file that `remove_leftovers` spares; repeat if it was removed before the lock."""
    while True:
        file = path.open("xb")  # unlike `tempfile`, with the mode that the umask gives
        with suppress(OSError):  # on a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return file
        file.close()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote into a folder.

    A file that is being written is locked by its writer. On a file system without locks, nothing
    is removed.
    """
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        found = [e.path for e in entries if _TEMPORARY.fullmatch(e.name)]
        for path in found:
            with suppress(OSError), open(path, "r+b", opener=_without_links) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Path(path).unlink()


def _without_links(path: str, flags: int) -> int:
    """Open a file, but not a link, and without blocking on a FIFO."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def flush_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that new file names survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot do it
            raise
    finally:
        os.close(handle)
