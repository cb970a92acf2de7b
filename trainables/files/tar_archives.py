"""Unpacking a tar.gz from an untrusted source: plain files below one folder, of bounded size.

Every unpacked byte passes through `_BoundedGzip`, so that nothing in the archive, neither a file
nor a header, takes more memory, disk space or time than the bounds allow.
"""

import gzip
import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from toprung.trainables.files.archives import ArchiveError
from toprung.trainables.files.untrusted_files import KIB, MIB

MAX_WELL_COMPRESSED_BYTES = 512 * MIB
"""The unpacked size that is allowed whatever the size of the archive."""
MAX_RATIO = 20
"""A larger unpacked size may be this many times the archive's. JSON compresses to a tenth."""
MAX_NAMES = 300_000
"""The names of all files, and of the folders on their paths: 100,000 trials have one file each."""
_MAX_READ = 64 * KIB
"""The most that tarfile may read at once. It reads a file in smaller pieces, but a header, such as
a long file name, whole."""


class _BoundedGzip(gzip.GzipFile):
    """A gzip file from which at most `most_bytes` are unpacked, in small reads."""

    def __init__(self, archive: bytes, most_bytes: int) -> None:
        super().__init__(fileobj=io.BytesIO(archive), mode="rb")
        self._most_bytes = most_bytes

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MAX_READ:
            raise ArchiveError(f"has a file header of more than {_MAX_READ:,} bytes")
        check_bytes(self.tell() + size, self._most_bytes)
        return super().read(size)


def unpack_tar(archive: bytes, to: Path) -> None:
    """Write the files of a tar.gz into a folder, and nothing outside it.

    Args:
        archive: the content of the tar.gz.
        to: the folder; it need not exist.

    Raises:
        ArchiveError: if the archive is damaged, too large, or contains anything but plain files
            below the folder. Files that precede the refused entry have been written.
        OSError: if a file cannot be written.
    """
    most_bytes = max(MAX_WELL_COMPRESSED_BYTES, MAX_RATIO * len(archive))
    try:
        with (
            _BoundedGzip(archive, most_bytes) as content,
            tarfile.open(fileobj=content, mode="r:") as files,
        ):
            _unpack(files, to, most_bytes)
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, RecursionError) as error:
        raise ArchiveError(f"is not a tar.gz, or is damaged: {error}") from None


def check_bytes(num_bytes: int, most_bytes: int) -> None:
    """Refuse to unpack more than `most_bytes`.

    Raises:
        ArchiveError: if it is more.
    """
    if num_bytes > most_bytes:
        raise ArchiveError(f"would unpack to more than {most_bytes:,} bytes")


def _unpack(files: tarfile.TarFile, to: Path, most_bytes: int) -> None:
    num_bytes = num_names = 0
    while (member := files.next()) is not None:
        _check_is_plain(member)
        num_bytes += member.size
        check_bytes(num_bytes, most_bytes)
        num_names += len(PurePosixPath(member.name).parts)
        if num_names > MAX_NAMES:
            raise ArchiveError(f"has more than {MAX_NAMES:,} names of files and folders")
        files.extract(member, to, set_attrs=False, filter="data")
        files.members.clear()  # type: ignore[attr-defined]  # else memory grows with each file


def _check_is_plain(member: tarfile.TarInfo) -> None:
    """Refuse links, devices, sparse files, folders, and paths that lead out of the folder."""
    name = PurePosixPath(member.name)
    shown = member.name[:200]
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        raise ArchiveError(f"holds {shown}, which is not a plain file")
    if name.is_absolute() or ".." in name.parts or member.size < 0:
        raise ArchiveError(f"holds {shown}, which is not a file below its folder")
