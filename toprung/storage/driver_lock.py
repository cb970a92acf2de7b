"""The lock that lets only one driver run a sweep."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from toprung.analysis.study.sweep_record import SweepRecord
from toprung.analysis.sweep_folder import attributes
from toprung.analysis.sweep_folder.driver import in_words
from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.errors import ToprungError

MAX_SECONDS_TO_WAIT = 2.0
"""Long enough for a process that only tests the lock, and for a driver that is about to end."""


@contextmanager
def driver_lock(folder: SweepFolder) -> Iterator[None]:
    """Hold the lock of the one process that may run this sweep.

    Raises:
        ToprungError: if another process runs it, naming that one; or if the folder is not writable.
    """
    try:
        handle = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise ToprungError(f"{folder.path}: cannot be written: {error.strerror}") from None
    try:
        if not _locked(handle):
            owner = SweepRecord(folder.path).study.user_attrs.get(attributes.OWNER, {})
            raise ToprungError(f"{folder.path}: is being run by {in_words(owner)}")
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    deadline = monotonic() + MAX_SECONDS_TO_WAIT
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() > deadline:
                return False
            sleep(0.1)
        else:
            return True
