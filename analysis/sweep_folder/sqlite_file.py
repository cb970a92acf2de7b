"""Checks on a sweep's SQLite file before SQLite opens it."""

import os
from pathlib import Path

_HEADER = b"SQLite format 3\0"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_TRAILER = 16
"""Bytes at the end of a journal that names a super-journal: length, checksum and magic number."""


def check_study_file(study: Path) -> None:
    """Check that a file is an SQLite database that does not lead SQLite to other files.

    A rollback journal can name a super-journal, anywhere on the disk, which SQLite reads and then
    deletes (https://www.sqlite.org/fileformat2.html#the_rollback_journal). Such journals belong to
    transactions over several databases, which no sweep has.

    Raises:
        ValueError: if it is not such a database.
        OSError: if it cannot be read.
    """
    with study.open("rb") as file:
        if file.read(len(_HEADER)) != _HEADER:
            raise ValueError("is not an SQLite database")
    journal = study.with_name(f"{study.name}-journal")
    if journal.is_file() and _names_super_journal(journal):
        raise ValueError(
            f"{journal.name} next to it names a file elsewhere, which no sweep's journal does"
        )


def _names_super_journal(journal: Path) -> bool:
    with journal.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TRAILER))
        return file.read().endswith(_JOURNAL_MAGIC)
