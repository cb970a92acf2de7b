"""The kind of file system that a path is on."""

import os
from pathlib import Path

_NETWORK = {"9p", "afs", "beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}


def is_on_a_network(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether the path is on a file system that other machines may write to as well.

    SQLite must not use its write-ahead log there, because that needs memory that all readers share.
    False if the system has no list of its mounts.
    """
    real = os.path.realpath(path)
    kind = ""
    longest = -1
    for line in mounts.read_text("utf-8").splitlines() if mounts.is_file() else ():
        _, point, kind_here, *_ = line.split(" ")
        point = point.encode().decode("unicode_escape")  # a space is written \040
        if len(point) > longest and Path(real).is_relative_to(point):
            kind, longest = kind_here, len(point)
    return kind in _NETWORK or kind.startswith("fuse.")
