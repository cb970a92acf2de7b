"""The location of a sweep's Optuna study: in the sweep's folder, or in a separate database."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

STUDY_NAME = "sweep"
"""The name of a study in the sweep's own folder."""


@dataclass(frozen=True)
class StudyPlace:
    """An Optuna storage, and the name of the study in it.

    Attributes:
        url: the URL of the storage, without a password: libpq finds that in `PGPASSWORD` or in its
            password file.
        name: the name of the study.
        file: the SQLite file in the sweep's folder; None for a database elsewhere.
    """

    url: str
    name: str
    file: Path | None = None

    def as_plain(self) -> dict[str, str]:
        """The location as `sweep.yaml` keeps it, for a study outside the sweep's folder."""
        return {"url": self.url, "name": self.name}


def study_in_file(path: Path) -> StudyPlace:
    """The study in a sweep's own SQLite file, whatever characters its path has."""
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
