"""Checking a zip archive from an untrusted source before anything in it is unpacked."""

import os
import struct
import zipfile
from typing import BinaryIO

from toprung.trainables.files.untrusted_files import MIB

MAX_DIRECTORY_BYTES = 16 * MIB
"""The size of an archive's directory, which is read whole. torch's has one entry per tensor."""
_END = b"PK\x05\x06"
_END_64 = b"PK\x06\x06"
_IN_END_64 = 0xFFFFFFFF
"""Marks a size that does not fit into 32 bits, and is in the 64-bit end record before this one."""
_MAX_END_BYTES = 2**16 + 256
"""The size of both end records, with the longest possible comment."""


class ArchiveError(ValueError):
    """An archive that is refused; the message says why."""


def check_archive(file: BinaryIO, *, most_bytes: int | None = None) -> None:
    """Check that an archive does not unpack to more bytes than allowed.

    Args:
        file: the archive, which is rewound to its beginning afterwards.
        most_bytes: the largest unpacked size of all entries together; None if no entry may be
            compressed, so that the entries, which must not overlap, are no larger than the file.

    Raises:
        ArchiveError: if the file is not a zip archive, or unpacks to more.
    """
    size = file.seek(0, os.SEEK_END)
    _check_directory(file, size)
    try:
        entries = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise ArchiveError(f"is not a zip archive: {error}") from None
    if most_bytes is None and any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise ArchiveError("has compressed entries, which Toprung never writes in such a file")
    bound = size if most_bytes is None else most_bytes
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > bound:
        raise ArchiveError(
            f"would unpack from {size:,} to {unpacked:,} bytes; at most {bound:,} are allowed"
        )
    file.seek(0)


def _check_directory(file: BinaryIO, size: int) -> None:
    """Check the size of the directory, which the end record states."""
    file.seek(max(0, size - _MAX_END_BYTES))
    tail = file.read(_MAX_END_BYTES)
    start = tail.rfind(_END)
    if start < 0 or len(tail) < start + 16:
        raise ArchiveError("is not a zip archive, or is truncated")
    (length,) = struct.unpack_from("<I", tail, start + 12)
    start_64 = tail.rfind(_END_64, 0, start)
    if length == _IN_END_64 and start_64 >= 0 and len(tail) >= start_64 + 48:
        (length,) = struct.unpack_from("<Q", tail, start_64 + 40)
    if length > MAX_DIRECTORY_BYTES:
        raise ArchiveError(
            f"has a directory of {length:,} bytes; at most {MAX_DIRECTORY_BYTES:,} are read"
        )
