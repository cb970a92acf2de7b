"""Copying a study's SQLite file, also while it is being written."""

import sqlite3
from contextlib import closing
from pathlib import Path


def copy_study(study: Path, to: Path) -> None:
    """Copy a study's present state, including its journals, to a single plain file.

    Raises:
        sqlite3.Error: if the study cannot be read, or the copy cannot be written.
    """
    with (
        closing(sqlite3.connect(f"{study.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(to)) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
