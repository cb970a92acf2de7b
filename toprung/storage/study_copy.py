"""A copy of a study's SQLite file, which may be written to meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path


def copy_study(study: Path, to: Path) -> None:
    """Copy a study as it is now, with what is in its journals; the copy is one plain file.

    Raises:
        sqlite3.Error: if it cannot be read, or the copy not be written.
    """
    with (
        closing(sqlite3.connect(f"{study.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(to)) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
