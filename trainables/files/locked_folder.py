"""Temporary folders that are locked by their process; those of killed processes are removed."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


class LockedFolder:
    """A new folder in the temporary folder, locked for as long as this process lives.

    Args:
        prefix: the prefix of the names of all such folders.
    """

    def __init__(self, prefix: str) -> None:
        remove_abandoned(prefix)
        # It gets its name once it is locked, so that no process takes it for an abandoned one.
        made = Path(tempfile.mkdtemp(prefix=f".{prefix}"))
        self._handle = os.open(made, os.O_RDONLY)
        with suppress(OSError):  # on a file system without locks
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        self.path = made.rename(made.with_name(made.name[1:]))

    def remove(self) -> None:
        """Remove the folder and its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)


def remove_abandoned(prefix: str) -> None:
    """Remove this user's folders with this prefix whose processes have ended."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # in use, removed meanwhile, or not a folder
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(handle).st_uid == os.getuid():
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)
