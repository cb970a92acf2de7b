"""Reading and writing in an untrusted folder: a sweep's folder, or an export.

The rule for every path below such a folder: no part of it is a link, so that nothing outside the
folder is read or written; a file is a regular file, because opening a pipe may block forever; and a
file is no larger than Toprung itself would write it. The folder itself may be reached through a
link, because the user typed that path. Hard links cannot be distinguished from files.

Code that opens such a file gets its path from `inside` (as every property of
`toprung.analysis.sweep_folder.folder.SweepFolder` does), or opens it with `open_file`.
"""

import csv
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KIB, MIB, GIB = 2**10, 2**20, 2**30
MAX_TEXT_BYTES = 16 * MIB
"""YAML, JSON and Python source that is read whole. The names of 21,841 classes take 1 MiB; the
worst JSON takes 25 times its size when parsed."""
MAX_LOG_BYTES = 256 * MIB
"""Logs that are read line by line: a trial's reports, a sweep's decisions."""
MAX_LINE_BYTES = 16 * MIB
"""One line of such a log: a report with the figures of 100,000 steps."""
MAX_TABLE_BYTES = 512 * MIB
MAX_ROWS, MAX_COLUMNS = 2_000_000, 100
"""The bounds of `splits.csv`, which has a row for each image. ImageNet has 1.28 million."""
_MAX_ROW_BYTES = MIB
"""How much is read at a time; the csv module refuses fields of more than 128 KiB."""
MAX_STUDY_BYTES = GIB
"""The study, and each of its journals: 10,000 trials with 20 validations each take a tenth."""
MAX_WEIGHTS_BYTES = 8 * GIB
"""A billion parameters of 64 bits; no network may have more."""
MAX_CHECKPOINT_BYTES = 2 * MAX_WEIGHTS_BYTES
"""Two sets of weights and Adam's two moments of a billion parameters of 32 bits."""
MAX_PREDICTIONS_BYTES = 4 * GIB
"""Compressed logits: 50,000 test images of 21,841 classes."""

MAX_SPARSE_BYTES = GIB
"""Of a larger file at least the fraction `_LEAST_STORED` must be stored on the disk, so that a few
blocks cannot take gigabytes of memory. Compressing file systems store over half of weights."""
_LEAST_STORED = 0.1
_BLOCK_BYTES = 512
"""The unit of `st_blocks` on Linux and macOS; file systems that do not count blocks report 0."""


class UntrustedFileError(OSError, ValueError):
    """A file that is refused, because it may lead out of its folder, may block, or is too large."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(errno.EPERM, reason, str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def inside(root: Path, path: Path, *, most_bytes: int | None = None) -> Path:
    """Check that a file or folder below a folder may be opened, if it exists.

    Args:
        root: the folder.
        path: the path of a file or folder below it.
        most_bytes: the largest allowed size of a file; None for a folder.

    Returns:
        The path.

    Raises:
        UntrustedFileError: if a part of the path is a link, or if it leads to something that is not
            a regular file (or a folder) or is too large.
    """
    parts = path.relative_to(root).parts
    assert ".." not in parts, path
    current = root
    for number, part in enumerate(parts, start=1):
        current = current / part
        try:
            status = current.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return path
        is_folder = number < len(parts) or most_bytes is None
        _check(current, status, None if is_folder else most_bytes)
    return path


def _check(path: Path, status: os.stat_result, most_bytes: int | None) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise UntrustedFileError(
            path,
            "is a link; links inside a sweep's folder or an export are not followed, as they could "
            "lead out of it. Replace it by the file or folder that it leads to",
        )
    if most_bytes is None:
        if not stat.S_ISDIR(status.st_mode):
            raise UntrustedFileError(path, "is not a folder")
        return
    if not stat.S_ISREG(status.st_mode):
        raise UntrustedFileError(path, "is not a regular file")
    if status.st_size > most_bytes:
        raise UntrustedFileError(
            path, f"has {status.st_size:,} bytes; at most {most_bytes:,} are read"
        )
    stored = status.st_blocks * _BLOCK_BYTES
    if status.st_size > MAX_SPARSE_BYTES and 0 < stored < _LEAST_STORED * status.st_size:
        raise UntrustedFileError(
            path,
            f"has {status.st_size:,} bytes, of which only {stored:,} are stored: a sparse file of "
            f"more than {MAX_SPARSE_BYTES:,} bytes is not read",
        )


@contextmanager
def open_file(path: Path, most_bytes: int) -> Iterator[io.BufferedReader]:
    """A context with a file to read, which must be a regular file of at most `most_bytes`.

    Raises:
        UntrustedFileError: if it is a link, a special file, or too large.
        OSError: if it cannot be opened.
    """
    _check(path, path.lstat(), most_bytes)
    # The file may have been replaced by a link or a pipe since the check.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        _check(path, os.fstat(handle), most_bytes)
        yield file


def read_bytes(path: Path, most_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """The content of a file, opened with `open_file`."""
    with open_file(path, most_bytes) as file:
        return file.read(most_bytes)


def read_text(path: Path, most_bytes: int = MAX_TEXT_BYTES, errors: str = "strict") -> str:
    """The text of a UTF-8 file, opened with `open_file`."""
    return read_bytes(path, most_bytes).decode("utf-8", errors)


def digest_of(path: Path, most_bytes: int) -> str:
    """The SHA-256 of a file, opened with `open_file`."""
    with open_file(path, most_bytes) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_lines(path: Path, most_bytes: int = MAX_LOG_BYTES) -> Iterator[bytes]:
    """The lines of a file, opened with `open_file`; lines that are too long are left out."""
    with open_file(path, most_bytes) as file:
        is_new = True
        while line := file.readline(MAX_LINE_BYTES):
            is_whole = line.endswith(b"\n") or len(line) < MAX_LINE_BYTES
            if is_new and is_whole:
                yield line
            is_new = is_whole


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, opened with `open_file`, as mappings from its column names.

    Raises:
        UntrustedFileError: if it has too many rows or columns.
        OSError: if it cannot be read.
        csv.Error: if it is not CSV.
    """
    with open_file(path, MAX_TABLE_BYTES) as file:
        lines = iter(lambda: file.readline(_MAX_ROW_BYTES), b"")
        text = (line.decode("utf-8", "surrogateescape") for line in lines)
        rows = csv.DictReader(text, restval="")
        if len(rows.fieldnames or ()) > MAX_COLUMNS:
            raise UntrustedFileError(path, f"has more than {MAX_COLUMNS} columns")
        for number, row in enumerate(rows):
            if number == MAX_ROWS:
                raise UntrustedFileError(path, f"has more than {MAX_ROWS:,} rows")
            yield row


def check_folder(folder: Path) -> None:
    """Check that nothing under a folder leads out of it; to be called before all of it is used.

    Raises:
        UntrustedFileError: if there is a link or a special file.
        OSError: if a folder cannot be read.
    """
    for _ in files_within(folder):
        pass


def files_within(folder: Path) -> Iterator[Path]:
    """Every regular file under a folder, however deep, in order of their paths.

    Raises:
        UntrustedFileError: if there is a link or a special file.
        OSError: if a folder cannot be read.
    """
    left = [folder]
    while left:
        path = left.pop()
        try:
            status = path.lstat()
        except FileNotFoundError:  # another process's temporary file, which has been renamed
            continue
        if path == folder or stat.S_ISDIR(status.st_mode):
            left += sorted(path.iterdir(), reverse=True)
        else:
            _check(path, status, MAX_CHECKPOINT_BYTES)
            yield path
