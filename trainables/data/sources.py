"""Finding the images of a source by its name."""

from importlib.metadata import version

from toprung.trainables.data.listing.cache import Cache
from toprung.trainables.data.listing.csv_file import list_csv
from toprung.trainables.data.listing.errors import DataError
from toprung.trainables.data.listing.files import absolute
from toprung.trainables.data.listing.folder import list_folder
from toprung.trainables.data.listing.image_list import ListedImage, Source, source_of_files
from toprung.trainables.data.named import NAMED_SETS
from toprung.trainables.data.named.digits import BUILT_INS
from toprung.trainables.data.named.find import find_named
from toprung.trainables.data.settings import DataSettings
from toprung.trainables.system.typed_settings import nearest

NAMES = (*BUILT_INS, *NAMED_SETS)


def find_source(settings: DataSettings, cache: Cache) -> Source:
    """The built-in or named data set, folder or CSV file that `settings.source` means.

    Raises:
        DataError: There is no such source, its files are missing, or its list has mistakes.
    """
    name = settings.source
    if name in BUILT_INS:
        built_in = BUILT_INS[name]
        return Source(f"{name} {version(built_in.package)}", built_in.list_images)
    if name in NAMED_SETS:
        return find_named(name, settings.root, cache, download=settings.download)
    return source_of_files(_list_files(name))


def located(settings: DataSettings) -> DataSettings:
    """The settings with paths that are valid from any working folder."""
    source, root = settings.source, settings.root
    paths = {
        "source": source if source in NAMES else str(absolute(source, "data/source")),
        "root": None if root is None else str(absolute(root, "data/root")),
    }
    return settings.model_copy(update=paths)


def _list_files(name: str) -> list[ListedImage]:
    path = absolute(name, "data/source")
    try:
        if path.is_dir():
            return list_folder(path)
        if path.is_file() and path.suffix.lower() == ".csv":
            return list_csv(path)
        exists = path.exists()
    except OSError as error:
        raise DataError(f"The source {name!r} cannot be read: {error}.") from error
    if exists:
        raise DataError(f"The source {name!r} is neither a folder nor a .csv file.")
    raise DataError(
        f"The source {name!r} is neither a data set known by name ({', '.join(NAMES)}) nor an "
        f"existing folder or .csv file{nearest(name, set(NAMES))}."
    )
