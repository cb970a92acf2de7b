"""Where a sweep's Optuna study is: in the sweep's folder, or in a database of its own."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

STUDY_NAME = "sweep"
"""Of a study in the sweep's own folder."""


@dataclass(frozen=True)
class StudyPlace:
    """An Optuna storage, and the name of the study there.

    Attributes:
        url: of the storage, without a password: that is for libpq to find, in `PGPASSWORD` or in
            its password file.
        name: of the study.
        file: where it is an SQLite file of the sweep's own.
    """

    url: str
    name: str
    file: Path | None = None

    def as_plain(self) -> dict[str, str]:
        """As `sweep.yaml` keeps it, of a study that is not in the sweep's folder."""
        return {"url": self.url, "name": self.name}


def study_in_file(path: Path) -> StudyPlace:
    """The study in a sweep's own SQLite file, whatever signs its path has."""
    return StudyPlace(sqlite_url(path), STUDY_NAME, path)


def sqlite_url(path: str | Path, **options: str) -> str:
    """SQLAlchemy's URL of an SQLite file, with options of SQLite's own.

    SQLAlchemy 2.1 quotes a file's name in a URL, and 2.0 does not. SQLite's notation of a name is
    quoted already, and comes through both unchanged.
    """
    from sqlalchemy import URL

    database = f"file:{quote(str(path))}"
    return URL.create(
        "sqlite", database=database, query={**options, "uri": "true"}
    ).render_as_string()
