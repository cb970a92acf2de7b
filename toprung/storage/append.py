"""Appending to files so that what was appended before stays whole."""

import os
from pathlib import Path


def append(path: Path, data: bytes) -> None:
    """Append all of this, or nothing: if the disk is full, the file is as before."""
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
    """Take away what a killed process wrote of a last line, if there is half a one."""
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
