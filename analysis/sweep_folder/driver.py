"""Which process runs a sweep, and whether it still does.

The process holds a lock on a file in the sweep's folder (flock). The system releases the lock when
the process ends for any reason, so there are no stale locks.
"""

import fcntl
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_LEASE_SECONDS = 60.0
"""How long after its last update in the store a driver is still assumed to run."""


def this_driver() -> dict[str, Any]:
    """This process, in the form of the study's attribute `attributes.OWNER`."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def in_words(owner: Mapping[str, Any]) -> str:
    """A process, for a message."""
    return f"process {owner.get('pid', '?')} on {owner.get('host', 'an unknown machine')}"


def still_runs(lock: Path, owner: Mapping[str, Any]) -> bool:
    """Whether the sweep is still running; true if this cannot be determined.

    Args:
        lock: the file on which the process holds a lock.
        owner: the process that ran the sweep last.
    """
    if owner.get("host") != socket.gethostname():
        return bool(owner)  # a file system need not share locks with other machines
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
    """Whether a sweep in a store is still running, by the time of its driver's last update."""
    return lease.is_file() and time.time() - lease.stat().st_mtime < MAX_LEASE_SECONDS
