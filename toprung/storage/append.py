"""Appending to a file without ever damaging its earlier content."""

import os
from pathlib import Path


def append(path: Path, data: bytes) -> None:
    """Append all of the data, or nothing: if the disk is full, the file is unchanged."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    try:
        length = os.fstat(handle).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
        except OSError:
            os.ftruncate(handle, length)
            raise
    finally:
        os.close(handle)


def cut_torn_line(path: Path) -> None:
    """Remove an incomplete last line, as a killed process may leave it."""
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
