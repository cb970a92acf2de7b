"""Which process runs a sweep, and whether it still does.

The process holds a file in the sweep's folder locked (flock). The system takes the lock away when
the process ends, however it does, so there is no stale lock.
"""

import fcntl
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_LEASE_SECONDS = 60.0
"""How long a driver may say nothing to its store and still be thought to run."""


def this_driver() -> dict[str, Any]:
    """This process, as the study's attribute `attributes.OWNER` tells of it."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def in_words(owner: Mapping[str, Any]) -> str:
    """A process, for a message."""
    return f"process {owner.get('pid', '?')} on {owner.get('host', 'an unknown machine')}"


def still_runs(lock: Path, owner: Mapping[str, Any]) -> bool:
    """Whether the sweep is still run; true where it cannot be known.

    Args:
        lock: the file that is held locked.
        owner: the process that has run the sweep at last.
    """
    if owner.get("host") != socket.gethostname():
        return bool(owner)  # a file system need not pass locks on to other machines
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def is_leased(lease: Path) -> bool:
    """Whether a sweep in a store is still run, by what the store told of its driver."""
    return lease.is_file() and time.time() - lease.stat().st_mtime < MAX_LEASE_SECONDS
