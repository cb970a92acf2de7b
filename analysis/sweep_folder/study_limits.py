"""Limits on a sweep's SQLite file, checked before Optuna reads all of it into memory."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from toprung.trainables.files.untrusted_files import MAX_TEXT_BYTES, MIB

MAX_ROWS = 1_000_000
"""The most rows in all tables that Optuna reads. 10,000 trials with 20 validations, 10 parameters
and 8 attributes have 400,000; Optuna needs about 2 kB and .1 ms for each row."""
MAX_ATTRIBUTE_BYTES = 256 * MIB
"""The most bytes in all attributes. Those of one trial, including its config, have 2 kB."""
_MAX_STEPS_OF_SCHEMA = 20_000
"""The most steps of SQLite's virtual machine to read the names of all tables; about 10 for each."""
_READ = (
    "alembic_version",
    "studies",
    "study_directions",
    "study_system_attributes",
    "study_user_attributes",
    "trial_heartbeats",
    "trial_intermediate_values",
    "trial_params",
    "trial_system_attributes",
    "trial_user_attributes",
    "trial_values",
    "trials",
    "version_info",
)
_TEXTS = {
    "trial_user_attributes": "value_json",
    "trial_system_attributes": "value_json",
    "trial_params": "distribution_json",
    "study_user_attributes": "value_json",
    "study_system_attributes": "value_json",
}


class LimitedConnection(sqlite3.Connection):
    """A connection to an untrusted file: large values are refused, and its schema is not trusted.

    For `sqlite3.connect(..., factory=LimitedConnection)`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_TEXT_BYTES)
        self.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        super().execute("PRAGMA trusted_schema = OFF")


def check_size(study: Path) -> None:
    """Check that the tables of a study are plain, and not too large to be read.

    Raises:
        ValueError: if they are not.
        sqlite3.Error: if the file cannot be read.
    """
    url = f"{study.absolute().as_uri()}?mode=rw"  # does not create a file
    with closing(sqlite3.connect(url, uri=True, factory=LimitedConnection)) as connection:
        connection.set_progress_handler(lambda: 1, _MAX_STEPS_OF_SCHEMA)  # interrupts it
        found = connection.execute("SELECT name, type, sql FROM sqlite_master").fetchall()
        connection.set_progress_handler(None, 0)
        tables = {name: (kind, sql or "") for name, kind, sql in found if name in _READ}
        for name, (kind, sql) in tables.items():
            if kind != "table" or not sql.upper().startswith("CREATE TABLE"):
                raise ValueError(f"its {name} is not a plain table")  # a view could be infinite
            columns = connection.execute("SELECT hidden FROM pragma_table_xinfo(?)", (name,))
            if any(hidden for (hidden,) in columns):
                raise ValueError(f"its table {name} has columns that are computed")
        _check_rows(connection, [name for name in _READ if name in tables])


def _check_rows(connection: sqlite3.Connection, tables: list[str]) -> None:
    rows = text = 0
    for name in tables:
        (count,) = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
        rows += count
        if rows > MAX_ROWS:
            raise ValueError(f"it has more than {MAX_ROWS:,} rows")
        if column := _TEXTS.get(name):
            lengths = f"SELECT total(length({column})), max(length({column})) FROM {name}"
            length, longest = connection.execute(lengths).fetchone()
            text += length
            if (longest or 0) > MAX_TEXT_BYTES:
                raise ValueError(f"it has a value of {longest:,} bytes; at most {MAX_TEXT_BYTES:,}")
    if text > MAX_ATTRIBUTE_BYTES:
        raise ValueError(f"its attributes have {text:,.0f} bytes; at most {MAX_ATTRIBUTE_BYTES:,}")
