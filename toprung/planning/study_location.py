"""The location of a new sweep's study: a file in its folder, or a database that the user names."""

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from toprung.analysis.sweep_folder.folder import SweepFolder
from toprung.analysis.sweep_folder.study_database import open_storage, reason, with_driver
from toprung.analysis.sweep_folder.study_place import StudyPlace, study_in_file
from toprung.errors import ToprungError


def new_study_place(storage: str | None, folder: SweepFolder) -> StudyPlace:
    """Check the database that the user names, and return the location of the sweep's study.

    Raises:
        ToprungError: if the URL is not one of PostgreSQL or has a password, or if the database
            cannot be reached or already has a study of this name.
    """
    if storage is None:
        return study_in_file(folder.study)
    place = StudyPlace(checked_url(storage), folder.path.name)
    _check_driver(place.url)
    _check_there(place)
    return place


def checked_url(storage: str) -> str:
    """Check that the sweep's folder can keep a storage URL: PostgreSQL, without a password.

    Raises:
        ToprungError: if the URL is anything else.
    """
    try:
        url = make_url(storage)
    except (ArgumentError, ValueError):  # ValueError: the port is not a number
        raise ToprungError(
            f"storage = {storage!r}: must be a URL such as postgresql://USER@HOST/DATABASE"
        ) from None
    asked = {name: value for name, value in url.query.items() if "password" not in name}
    plain = url.set(query=asked).render_as_string(hide_password=True)
    if url.get_backend_name() != "postgresql":
        raise ToprungError(
            f"storage = {plain!r}: must be a postgresql:// URL; without one, the study is an "
            "SQLite file in the sweep's folder"
        )
    if url.password is not None or asked != url.query:
        raise ToprungError(
            f"storage = {plain!r}: leave the password out, because the sweep's folder keeps the "
            "URL; it is read from the variable PGPASSWORD or the file ~/.pgpass"
        )
    return url.render_as_string()


def _check_driver(url: str) -> None:
    """Check that a database driver is installed where the sweep's driver runs."""
    try:
        with_driver(make_url(url)).get_dialect().import_dbapi()
    except (ImportError, NoSuchModuleError):
        raise ToprungError(
            f"storage = {url!r}: needs a database driver: pip install 'toprung[postgresql]'"
        ) from None


def _check_there(place: StudyPlace) -> None:
    try:
        storage = open_storage(place)
        names = [study.study_name for study in storage.get_all_studies()]
        storage.remove_session()
        storage.engine.dispose()
    except (SQLAlchemyError, ValueError) as error:
        raise ToprungError(f"storage = {place.url!r}: cannot be used: {reason(error)}") from None
    if place.name in names:
        raise ToprungError(
            f"storage = {place.url!r}: already has a study {place.name!r}; choose another --name"
        )
