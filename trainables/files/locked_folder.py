"""A temporary folder of this process: one that a killed process has left is removed by the next."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


class LockedFolder:
    """A new folder in the temporary folder, locked for as long as this process lives.

    Args:
        prefix: what the names of all such folders begin with.
    """

    def __init__(self, prefix: str) -> None:
        remove_abandoned(prefix)
        # It gets its name when it is locked, so that nobody takes it for one that was abandoned.
        made = Path(tempfile.mkdtemp(prefix=f".{prefix}"))
        self._handle = os.open(made, os.O_RDONLY)
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        self.path = made.rename(made.with_name(made.name[1:]))

    def remove(self) -> None:
        """Remove it with what it holds."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)


def remove_abandoned(prefix: str) -> None:
    """Remove this user's folders of this prefix whose processes have ended."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # another's, or removed meanwhile, or no folder
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(handle).st_uid == os.getuid():
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)
